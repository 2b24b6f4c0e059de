"""Descriptions, kept word by word: what is no word of radiology may be somebody's name."""

import re
from collections.abc import Collection, Iterator
from functools import cache
from importlib.resources import files
from typing import Final

from gateway.dicom.text import folded

_PIECES: Final = re.compile(r"[^\W\d_]+|\d+")
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_MOST_DIGITS: Final = 2
"""In a row: fewer than a year, a time or a record number has."""
_SCHEMES: Final = ("DCM", "SCT")


def words_of(text: str) -> tuple[str, ...]:
    """Return the words and numbers of a text, without case and accents."""
    return tuple(_PIECES.findall(folded(text)))


def cleaned_words(text: str, names: Collection[str], more_words: Collection[str] = ()) -> str:
    """Return what of a description is known to name nobody (PS3.15 section E.3.5).

    A token between spaces stays where each of its words is in the vocabulary or among
    ``more_words``, and none is among ``names``. Numbers stay up to two digits; those that stand
    alone only where there is no longer one, since a day and a month say much beside what was a
    year. ``names`` and ``more_words`` are folded.
    """
    tokens = re.split(r"[\s_]+", text)
    has_long_number = any(_is_long(piece) for token in tokens for piece in words_of(token))
    allowed = vocabulary() | frozenset(more_words)
    return " ".join(
        token
        for token in tokens
        if words_of(token) and not (has_long_number and _is_number(token))
        if all(_is_clean(piece, names, allowed) for piece in words_of(token))
    )


def _is_clean(piece: str, names: Collection[str], allowed: Collection[str]) -> bool:
    if piece in names:
        return False
    return len(piece) <= _MOST_DIGITS if piece.isdigit() else piece in allowed or len(piece) == 1


def _is_long(piece: str) -> bool:
    return piece.isdigit() and len(piece) > _MOST_DIGITS


def _is_number(token: str) -> bool:
    return not any(character.isalpha() for character in token)


@cache
def vocabulary() -> frozenset[str]:
    """Return the words that name nobody, folded.

    They are the words of the meanings of DICOM's and SNOMED's codes that stand there in lower
    case, since a name has a capital, and those of ``words.txt``, which series descriptions use.
    """
    return frozenset(map(folded, [*_code_words(), *_own_words()]))


def _code_words() -> Iterator[str]:
    # Megabytes of codes, which only a process that de-identifies needs.
    from pydicom.sr.codedict import codes

    for scheme in _SCHEMES:
        concepts = getattr(codes, scheme)
        for keyword in concepts.dir():
            yield from filter(str.islower, _LETTERS.findall(getattr(concepts, keyword).meaning))


def _own_words() -> Iterator[str]:
    text = files("gateway.dicom.deidentification").joinpath("words.txt").read_text("utf-8")
    for line in text.splitlines():
        if not line.startswith("#"):
            yield from line.split()
