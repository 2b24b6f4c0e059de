"""SearchImageSets: what its filters ask for, and how its results are described.

Source: API reference, SearchImageSets.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.testing.healthimaging.errors import ValidationError
from gateway.testing.healthimaging.image_sets import ImageSet

_KEYWORDS = {
    "DICOMPatientId": "PatientID",
    "DICOMAccessionNumber": "AccessionNumber",
    "DICOMStudyId": "StudyID",
    "DICOMStudyInstanceUID": "StudyInstanceUID",
    "DICOMSeriesInstanceUID": "SeriesInstanceUID",
}
_TEXTS = _KEYWORDS | {
    "DICOMPatientName": "PatientName",
    "DICOMPatientBirthDate": "PatientBirthDate",
    "DICOMPatientSex": "PatientSex",
    "DICOMStudyDescription": "StudyDescription",
    "DICOMSeriesModality": "Modality",
    "DICOMSeriesBodyPart": "BodyPartExamined",
    "DICOMStudyDate": "StudyDate",
    "DICOMStudyTime": "StudyTime",
}
_MOST_FILTERS = 2
_FIRST_TIME = "000000"
_Value = Callable[[ImageSet], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Filter:
    """One filter: ``values`` are one, or the first and the last."""

    value: _Value
    values: tuple[Any, ...]

    def matches(self, image_set: ImageSet) -> bool:
        found = self.value(image_set)
        if len(self.values) == 1:
            return bool(found == self.values[0])
        return bool(self.values[0] <= found <= self.values[1])


def searched(image_sets: Iterable[ImageSet], criteria: Mapping[str, Any]) -> list[ImageSet]:
    """Return the image sets that searchCriteria ask for, in the order that they ask for.

    Raises:
        ValidationError: the criteria are none.
    """
    filters = [_filter(one) for one in _filters(criteria)]
    found = [one for one in image_sets if all(each.matches(one) for each in filters)]
    sort = criteria.get("sort") or {"sortField": "updatedAt", "sortOrder": "DESC"}
    return sorted(found, key=_sort_value(sort), reverse=_is_descending(sort))


def _filters(criteria: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    filters = criteria.get("filters")
    if filters is None:
        return []
    if not isinstance(filters, list) or not 1 <= len(filters) <= _MOST_FILTERS:
        raise ValidationError(f"filters must have 1 to {_MOST_FILTERS} members")
    return filters


def _filter(one: Mapping[str, Any]) -> _Filter:
    values, operator = one.get("values") or [], one.get("operator")
    wanted = {"EQUAL": 1, "BETWEEN": 2}.get(str(operator))
    if wanted is None or len(values) != wanted:
        raise ValidationError("operator must be EQUAL of one value or BETWEEN of two")
    names = {name for value in values for name in value}
    if len(names) != 1 or any(len(value) != 1 for value in values):
        raise ValidationError("every value of a filter must have the same one member")
    (name,) = names
    return _Filter(
        value=_value_of(name), values=tuple(_wanted(name, value[name]) for value in values)
    )


def _wanted(name: str, value: Any) -> Any:
    if name == "DICOMStudyDateAndTime":
        return _moment(str(value.get("DICOMStudyDate", "")), str(value.get("DICOMStudyTime", "")))
    if name in ("createdAt", "updatedAt"):
        return float(value)
    return value


def _value_of(name: str) -> _Value:
    if name in _KEYWORDS:
        keyword = _KEYWORDS[name]
        return lambda image_set: image_set.latest.first.text(keyword)
    if name == "DICOMStudyDateAndTime":
        return _studied_at
    values: dict[str, _Value] = {
        "createdAt": lambda image_set: image_set.created_at,
        "updatedAt": lambda image_set: image_set.updated_at,
        "isPrimary": lambda image_set: image_set.is_primary,
    }
    if name not in values:
        raise ValidationError(f"{name} cannot be searched by")
    return values[name]


def _studied_at(image_set: ImageSet) -> str:
    first = image_set.latest.first
    return _moment(first.text("StudyDate"), first.text("StudyTime"))


def _moment(date: str, time: str) -> str:
    return date + (time or _FIRST_TIME).partition(".")[0].ljust(6, "0")


def _sort_value(sort: Mapping[str, Any]) -> _Value:
    field = sort.get("sortField")
    if field not in ("updatedAt", "createdAt", "DICOMStudyDateAndTime"):
        raise ValidationError("sortField is unknown")
    return _value_of(field)


def _is_descending(sort: Mapping[str, Any]) -> bool:
    order = sort.get("sortOrder")
    if order not in ("ASC", "DESC"):
        raise ValidationError("sortOrder must be ASC or DESC")
    return bool(order == "DESC")


def summary(image_set: ImageSet, study: Iterable[ImageSet]) -> dict[str, Any]:
    """Describe a search result; ``study`` has the image sets of the same study."""
    first = image_set.latest.first
    tags: dict[str, Any] = {
        name: text for name, keyword in _TEXTS.items() if (text := first.text(keyword))
    }
    if (number := first.text("SeriesNumber")).lstrip("+-").isdecimal():
        tags["DICOMSeriesNumber"] = int(number)
    series = {uid for one in study for uid in _series(one)}
    tags["DICOMNumberOfStudyRelatedSeries"] = len(series)
    tags["DICOMNumberOfStudyRelatedInstances"] = sum(len(one.latest.instances) for one in study)
    return {
        "imageSetId": image_set.identifier,
        "version": image_set.latest.number,
        "createdAt": image_set.created_at,
        "updatedAt": image_set.updated_at,
        "lastAccessedAt": image_set.updated_at,
        "storageTier": "FREQUENT_ACCESS",
        "isPrimary": image_set.is_primary,
        "DICOMTags": tags,
    }


def _series(image_set: ImageSet) -> set[str]:
    return {one.series_instance_uid for one in image_set.latest.instances.values()}
