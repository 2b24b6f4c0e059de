"""Where instances are, and what keeps two image sets of a study apart."""

from typing import Any

import pytest

from gateway.healthimaging.image_sets import FoundImageSet
from gateway.healthimaging.metadata import InstanceMetadata
from gateway.healthimaging.whereabouts import Whereabouts, conflicting_attributes

SAME = {"PatientID": "P ", "StudyDate": "20250101", "AccessionNumber": None, "SeriesNumber": "3 "}


def instance(series: str = "1.2", **values: Any) -> InstanceMetadata:
    return InstanceMetadata(
        study_instance_uid="1",
        series_instance_uid=series,
        sop_instance_uid=f"{series}.3",
        own={},
        shared=({**SAME, **values},),
        vrs={},
        stored_transfer_syntax_uid="",
        frames=(),
    )


@pytest.mark.parametrize(
    ("series", "values", "names"),
    [
        ("1.2", {}, ()),
        ("1.2", {"PatientID": "P", "SeriesNumber": "3", "AccessionNumber": ""}, ()),
        ("1.2", {"PatientID": "Q"}, ("PatientID",)),
        ("1.2", {"StudyDate": None, "AccessionNumber": "A"}, ("StudyDate", "AccessionNumber")),
        ("1.2", {"StudyID": "7", "SeriesNumber": "4"}, ("StudyID", "SeriesNumber")),
        ("1.9", {"SeriesNumber": "4"}, ()),
        ("1.2", {"PatientName": "other", "StudyTime": "1"}, ()),
    ],
)
def test_the_attributes_that_conflict_are_named(
    series: str, values: dict[str, Any], names: tuple[str, ...]
) -> None:
    assert conflicting_attributes(instance(series, **values), instance()) == names


def found(image_set_id: str) -> FoundImageSet:
    return FoundImageSet.read({"imageSetId": image_set_id, "isPrimary": image_set_id == "p"})


def test_an_instance_is_in_the_image_set_that_was_said_or_that_changed_last() -> None:
    where = Whereabouts(
        image_sets={"p": found("p"), "n": found("n")}, holders={"1": ["n", "p"], "2": ["p"]}
    )
    assert where.of("1") == found("n")
    assert where.of("1", said="p") == found("p")
    assert where.of("2", said="n") == found("p"), "it is not where it was said to be"
    assert where.of("3") is None
