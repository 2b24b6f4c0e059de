"""What names a person or a place in a data set, to be found again in its other text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset

from gateway.dicom.deidentification.treatments import Treatment
from gateway.dicom.deidentification.values import named, text_of, walk
from gateway.dicom.deidentification.words import vocabulary, words_of
from gateway.dicom.text import folded
from gateway.dicom.uids import DICOM_ROOT

_TEXT: Final = frozenset({"DA", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UT"})
_GOES: Final = frozenset(
    {Treatment.REMOVE, Treatment.EMPTY, Treatment.DUMMY, Treatment.MAP, Treatment.SHIFT}
)
_SHORTEST_WORD: Final = 2
_SHORTEST_PHRASE: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Identifiers:
    """Folded texts that must not be found in what stays of a data set."""

    names: frozenset[str]
    """Words of the names of persons."""
    words: frozenset[str]
    """Words of all that names somebody, without those of the vocabulary."""
    phrases: tuple[str, ...]
    """Whole values, found inside of others as well."""

    def occur_in(self, text: str, *, is_defined_term: bool = False) -> bool:
        """Tell whether a text names somebody.

        A defined term (VR CS) may be somebody's name by chance, as ``HEAD`` and ``HAND`` are.
        """
        bare, words = folded(text), words_of(text)
        return (
            not self.words.isdisjoint(words)
            or not (is_defined_term or self.names.isdisjoint(words))
            or any(phrase in bare for phrase in self.phrases)
        )


def identifiers_of(dataset: Dataset) -> Identifiers:
    """Collect the values of all attributes that do not stay, at any depth."""
    values = list(_values(dataset))
    names = {word for vr, value in values if vr == "PN" for word in _words(value)}
    words = {word for vr, value in values if vr not in ("DA", "UI") for word in _words(value)}
    phrases = {folded(value) for _, value in values if len(value) >= _SHORTEST_PHRASE}
    return Identifiers(
        names=frozenset(names),
        words=frozenset(words - vocabulary()),
        phrases=tuple(phrase for phrase in phrases if not vocabulary().issuperset(_words(phrase))),
    )


def _values(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Give VR and value of what names somebody, value by value."""
    for holder, tag, character_set in walk(dataset):
        known = named(tag)
        if known is None or known.vr not in _TEXT or known.treatment not in _GOES:
            continue
        for value in text_of(holder, tag, character_set).split("\\"):
            if value.strip() and not value.startswith(DICOM_ROOT):
                yield known.vr, value.strip()


def _words(text: str) -> list[str]:
    return [word for word in words_of(text) if len(word) >= _SHORTEST_WORD]
