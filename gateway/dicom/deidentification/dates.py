"""Dates and date-times of data sets, moved by whole days."""

import re
from datetime import date, timedelta
from typing import Final

_DATE: Final = re.compile(r"(\d{4})(\d{2})?(\d{2})?(.*)", re.DOTALL | re.ASCII)
_AFTER_DATE: Final = re.compile(r"(\d{2}){0,3}(\.\d{1,6})?([+-]\d{4})?", re.ASCII)
_DOTTED: Final = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})", re.ASCII)
"""Dates as ACR-NEMA wrote them, which old archives still hold."""


def shifted(text: str, days: int) -> str:
    """Return a DA or DT value moved by ``days``, in its own precision; empty where it is none.

    Time of the day and offset from UTC stay (PS3.5 section 6.2).
    """
    dotted = _DOTTED.fullmatch(text.strip())
    match = _DATE.fullmatch("".join(dotted.groups()) if dotted else text.strip())
    moved = None if match is None else _moved(match, days)
    if match is None or moved is None or _AFTER_DATE.fullmatch(match[4]) is None:
        return ""
    known = 4 + len(match[2] or "") + len(match[3] or "")
    return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"[:known] + match[4]


def day_of(text: str) -> date | None:
    """Return the day of a DA or DT value, the first one of a year or a month alone."""
    match = _DATE.fullmatch(text.strip())
    return None if match is None else _moved(match, 0)


def _moved(match: re.Match[str], days: int) -> date | None:
    try:
        return date(int(match[1]), int(match[2] or 1), int(match[3] or 1)) + timedelta(days)
    except (OverflowError, ValueError):
        return None
