"""What of a data store is pulled: the query of a source, by DICOM keywords.

Values are matched whole, as AWS HealthImaging's SearchImageSets does it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

SEARCHED = ("SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "StudyID", "PatientID")
"""What the service searches by, one of them at a time, the most selective first."""
COMPARED = ("Modality", "BodyPartExamined", "SeriesNumber", "StudyDescription", "PatientSex")
"""What it tells of an image set that it found."""
STUDY_DATE = "StudyDate"
KEYWORDS = (*SEARCHED, STUDY_DATE, *COMPARED)

TODAY = "today"
_FIRST_DAY, _LAST_DAY = "00010101", "99991231"
_DATE = r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
_DATES = re.compile(rf"{TODAY}|{_DATE}|{_DATE}-|-{_DATE}|{_DATE}-{_DATE}")
_UID = re.compile(r"[0-9.]{1,64}")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceQuery:
    """A valid query."""

    values: Mapping[str, str]
    """By keyword, all but the Study Date."""
    study_date: str = ""
    """A date, a range, ``today``, or nothing."""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Read what gateway.toml says, in which `objection` finds nothing."""
        values = {keyword: value.strip() for keyword, value in query.items()}
        study_date = values.pop(STUDY_DATE, "")
        return cls(values=values, study_date=study_date)

    def study_dates(self, since: str, today: str) -> tuple[str, str] | None:
        """Return the first and the last Study Date, as 20260131; None for any.

        ``today`` begins at the day ``since`` which the source was not looked at.
        """
        if not self.study_date:
            return None
        if self.study_date == TODAY:
            return min(since, today), today
        first, is_range, last = self.study_date.partition("-")
        if not is_range:
            return first, first
        return first or _FIRST_DAY, last or _LAST_DAY


def objection(keyword: str, value: str) -> str:
    """Return what is wrong with a value of a known keyword, or nothing."""
    text = value.strip()
    if not text:
        return "has no value; leave the key out where any value will do"
    if keyword == STUDY_DATE:
        first, _, last = text.partition("-")
        is_right = _DATES.fullmatch(text) and (not last or first <= last)
        form = f'a date as 20260131, a range as 20260101-20260131, or "{TODAY}"'
        return "" if is_right else f"must be {form}"
    if "*" in text or "?" in text or "\\" in text:
        return "is matched whole: neither wildcards nor several values"
    if keyword.endswith("UID") and not _UID.fullmatch(text):
        return "must be a UID"
    if keyword == "SeriesNumber" and not _WHOLE_NUMBER.fullmatch(text):
        return "must be a whole number"
    return ""
