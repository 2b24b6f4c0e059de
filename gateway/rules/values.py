"""Values of attributes and words of rules, brought to one form in which they compare."""

import datetime
import math
import re
from collections.abc import Callable, Mapping
from typing import Final

import pydicom.uid

from gateway.positions import nearest, quoted
from gateway.rules.subjects import Kind

Value = str | float
"""A plain value; whole numbers may be int."""

_DATE: Final = re.compile(r"(\d{4})([-.]?)(\d{2})\2(\d{2})", re.ASCII)
_TIME: Final = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(\.\d{1,6})?)?)?", re.ASCII)
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")

_UIDS_BY_NAME: Final[Mapping[str, str]] = {
    name: str(uid) for name, uid in vars(pydicom.uid).items() if isinstance(uid, pydicom.uid.UID)
}


def comparable(kind: Kind, value: Value) -> Value:
    """The form of a value in which equal values of its kind are equal.

    Raises:
        ValueError: no attribute of this kind can have the value.
    """
    return _FORMS[kind](value)


def word_form(kind: Kind, word: str) -> Value:
    """The comparable form of a word in a rule; UIDs may be given by their name.

    Raises:
        ValueError: no attribute of this kind can have the value; the message is for people.
    """
    if kind is Kind.UID and not _UID.fullmatch(word):
        return _uid_of_name(word)
    try:
        return comparable(kind, word)
    except ValueError as error:
        raise ValueError(f"{quoted(word)} is {_WANTED[kind]}") from error


def _text(value: Value) -> str:
    return str(value).strip(" \0")


def _code(value: Value) -> str:
    return _text(value).upper()


def _name(value: Value) -> str:
    return "=".join(group.rstrip("^ ") for group in _text(value).split("=")).rstrip("=")


def _number(value: Value) -> float:
    if isinstance(value, int):
        return value
    text = _text(value)
    if "_" in text or not text.isascii():
        raise ValueError("not a number of DICOM")
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _date(value: Value) -> str:
    parts = _DATE.fullmatch(_text(value))
    if parts is None:
        raise ValueError("not a date")
    return datetime.date(int(parts[1]), int(parts[3]), int(parts[4])).strftime("%Y%m%d")


def _seconds(value: Value) -> float:
    parts = _TIME.fullmatch(_text(value))
    if parts is None:
        raise ValueError("not a time")
    hours, minutes, seconds = (int(part or 0) for part in parts.group(1, 2, 3))
    if hours > 23 or minutes > 59 or seconds > 60:
        raise ValueError("not a time")
    return hours * 3600 + minutes * 60 + seconds + float(parts[4] or 0)


def _uid_of_name(word: str) -> str:
    if word not in _UIDS_BY_NAME:
        offer = nearest(word, _UIDS_BY_NAME)
        raise ValueError(f"{quoted(word)} is no UID and no name of one{offer}")
    return _UIDS_BY_NAME[word]


_FORMS: Final[Mapping[Kind, Callable[[Value], Value]]] = {
    Kind.TEXT: _text,
    Kind.CODE: _code,
    Kind.NAME: _name,
    Kind.UID: _text,
    Kind.NUMBER: _number,
    Kind.DATE: _date,
    Kind.TIME: _seconds,
    Kind.SEQUENCE: _text,
}
_WANTED: Final[Mapping[Kind, str]] = {
    Kind.NUMBER: "no number",
    Kind.DATE: "no date; write it as 2024-01-31 (relative dates are not part of this version)",
    Kind.TIME: "no time; write it as 14:30",
}
