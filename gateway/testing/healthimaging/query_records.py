"""Studies, series and instances as searches see them: what is matched, and what is given back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from gateway.testing.healthimaging.dicom_json import elements_json
from gateway.testing.healthimaging.image_sets import ImageSet
from gateway.testing.healthimaging.instances import StoredInstance, instance_path


class QueryLevel(IntEnum):
    """What a search is for; a level takes the matching keys of those above it too."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


RETURNED: Mapping[QueryLevel, tuple[str, ...]] = MappingProxyType(
    {
        QueryLevel.STUDY: (
            "SpecificCharacterSet",
            "StudyDate",
            "StudyTime",
            "AccessionNumber",
            "ReferringPhysicianName",
            "StudyDescription",
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyInstanceUID",
            "StudyID",
        ),
        QueryLevel.SERIES: (
            "SpecificCharacterSet",
            "Modality",
            "SeriesDescription",
            "SeriesInstanceUID",
            "SeriesNumber",
            "BodyPartExamined",
            "StudyInstanceUID",
        ),
        QueryLevel.INSTANCE: (
            "SOPClassUID",
            "SOPInstanceUID",
            "InstanceNumber",
            "Rows",
            "Columns",
            "BitsAllocated",
            "NumberOfFrames",
            "StudyInstanceUID",
            "SeriesInstanceUID",
        ),
    }
)
"""What a result has without being asked for it (PS3.18 tables 10.6.3-3 ff.)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Record:
    """One study, series or instance; ``first`` speaks for what all of it has in common."""

    level: QueryLevel
    first: StoredInstance
    counted: Mapping[str, Sequence[Any]]
    """Values that stand in no data set, by keyword."""

    def values(self, keyword: str) -> list[str]:
        """Return the values that a key is matched against."""
        if keyword in self.counted:
            return [str(one) for one in self.counted[keyword]]
        return [self.first.text(keyword)]

    def json(self, root: str, is_wanted: Callable[[str], bool]) -> dict[str, Any]:
        """Return the wanted elements in DICOM JSON, and all that is counted.

        ``root`` is the address of the studies.
        """
        address = self._address(root)
        found = elements_json(self.first.elements, f"{address}/bulkdata", is_wanted)
        for keyword, values in self.counted.items():
            tag = tag_for_keyword(keyword) or 0
            if values:
                found[f"{tag:08X}"] = {"vr": dictionary_VR(tag), "Value": list(values)}
        found["00081190"] = {"vr": "UR", "Value": [address]}
        return found

    def _address(self, root: str) -> str:
        parts = instance_path(self.first).split("/")
        return "/".join((root, *parts[: 2 * self.level + 1]))


def records(image_sets: Iterable[ImageSet], level: QueryLevel) -> list[Record]:
    """Return what a search of this level can find.

    Studies come in the order of the image sets, series by Series Number, instances by Instance
    Number.
    """
    instances = [one for image_set in image_sets for one in image_set.latest.instances.values()]
    if level is QueryLevel.STUDY:
        return [_study(of_one) for of_one in _grouped(instances, _study_of)]
    if level is QueryLevel.SERIES:
        found = [_series(of_one) for of_one in _grouped(instances, _series_of)]
        return sorted(found, key=lambda one: _number(one.first, "SeriesNumber"))
    return sorted(map(_instance, instances), key=lambda one: _number(one.first, "InstanceNumber"))


def _study(instances: Sequence[StoredInstance]) -> Record:
    return Record(
        level=QueryLevel.STUDY,
        first=instances[0],
        counted={
            "ModalitiesInStudy": sorted({one.text("Modality") for one in instances} - {""}),
            "NumberOfStudyRelatedSeries": [len({_series_of(one) for one in instances})],
            "NumberOfStudyRelatedInstances": [len(instances)],
        },
    )


def _series(instances: Sequence[StoredInstance]) -> Record:
    return Record(
        level=QueryLevel.SERIES,
        first=instances[0],
        counted={"NumberOfSeriesRelatedInstances": [len(instances)]},
    )


def _instance(instance: StoredInstance) -> Record:
    warnings = [one.code for one in instance.warnings]
    return Record(level=QueryLevel.INSTANCE, first=instance, counted={"WarningReason": warnings})


def _grouped(
    instances: Iterable[StoredInstance], key: Callable[[StoredInstance], tuple[str, ...]]
) -> list[list[StoredInstance]]:
    groups: dict[tuple[str, ...], list[StoredInstance]] = {}
    for instance in instances:
        groups.setdefault(key(instance), []).append(instance)
    return list(groups.values())


def _study_of(instance: StoredInstance) -> tuple[str, ...]:
    return (instance.study_instance_uid,)


def _series_of(instance: StoredInstance) -> tuple[str, ...]:
    return (instance.study_instance_uid, instance.series_instance_uid)


def _number(instance: StoredInstance, keyword: str) -> int:
    try:
        return int(instance.text(keyword))
    except ValueError:
        return 0
