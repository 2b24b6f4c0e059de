"""What the objects of one result have in common, and with those of a retry and a re-run."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom import Dataset

from gateway.inference import (
    MadeObject,
    Model,
    Output,
    ResultIdentity,
    SeriesVolume,
    forms_for,
    part10,
    read_series_volume,
)
from gateway.inference.forms import Form
from gateway.inference.result import ResultObject
from gateway.settings import ResultSettings
from tests.unit.inference.bundles import IDENTITY, phantom_series
from tests.unit.inference.results import labelled, made_of, reread, segmented

FORMS = forms_for(list(Output), ResultSettings())
SEGMENTED = (Output.SEG, Output.LABELMAP, Output.FRACTIONAL)
_XYZ_OF_RGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.072175],
        [0.0193339, 0.119192, 0.9503041],
    ]
)  # IEC 61966-2-1, with the white point D65


@pytest.fixture
def volume(tmp_path: Path) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path / "series"))


def made(
    volume: SeriesVolume, model: Model, identity: ResultIdentity = IDENTITY
) -> dict[Form, list[ResultObject]]:
    """Make every output, and sort it by form."""
    result = segmented(volume, labelled(volume), model, identity, with_probabilities=True)
    objects = made_of(replace(result, forms=FORMS), *FORMS)
    return {form: [one for one in objects if one.form == form] for form in FORMS}


def written(objects: dict[Form, list[ResultObject]], *outputs: Output) -> Iterator[Dataset]:
    """Yield the objects of these outputs as they are read from their files."""
    for form, those in objects.items():
        if form.output in outputs:
            yield from (reread(one.dataset) for one in those)


def names(objects: dict[Form, list[ResultObject]]) -> list[tuple[str, str]]:
    return [
        (str(one.dataset.SeriesInstanceUID), str(one.dataset.SOPInstanceUID))
        for those in objects.values()
        for one in those
    ]


def tracked(dataset: Dataset) -> dict[str, str]:
    """Return the tracking identifier of each tracking UID of a segmentation or a report."""
    if dataset.Modality == "SEG":
        segments = [one for one in dataset.SegmentSequence if one.SegmentNumber]
        return {str(one.TrackingUID): one.TrackingID for one in segments}
    groups = Comprehensive3DSR.from_dataset(dataset).content.get_volumetric_roi_measurement_groups()
    return {str(one.tracking_uid): one.tracking_identifier for one in groups}


def test_a_segment_has_the_same_tracking_names_in_each_segmentation_and_report(
    volume: SeriesVolume, thresholds: Model
) -> None:
    objects = made(volume, thresholds)
    found = [tracked(one) for one in written(objects, *SEGMENTED, Output.SR)]
    assert len(found) == 4
    assert list(found[0].values()) == ["thresholds Soft tissue", "thresholds Left kidney"]
    assert all(one == found[0] for one in found)


def test_a_retry_gives_every_object_the_same_names_and_bytes(
    volume: SeriesVolume, thresholds: Model, tmp_path: Path
) -> None:
    """Whatever the order in which the files of the series come."""
    first = made(volume, thresholds)
    paths = sorted(phantom_series(tmp_path / "again"), reverse=True)
    second = made(read_series_volume(paths), thresholds)
    assert names(second) == names(first)
    for form in FORMS:
        files, again = ([part10(one.dataset) for one in made[form]] for made in (first, second))
        assert files == again, form.output


def test_a_retry_by_another_version_at_another_time_keeps_all_uids(
    volume: SeriesVolume, thresholds: Model
) -> None:
    first = made(volume, thresholds)
    later = replace(IDENTITY, created=datetime(2027, 1, 1), software_version="9.9")
    second = made(volume, thresholds, later)
    assert names(second) == names(first)
    outputs = (*SEGMENTED, Output.SR)
    for one, other in zip(written(first, *outputs), written(second, *outputs), strict=True):
        assert tracked(other) == tracked(one)
    assert len({sop for _, sop in names(first)}) == len(names(first))


def test_a_new_revision_names_what_it_takes_the_place_of_in_every_kind_of_object(
    volume: SeriesVolume, thresholds: Model
) -> None:
    first = made(volume, thresholds)
    predecessors = tuple(
        MadeObject(
            sop_class_uid=str(one.dataset.SOPClassUID),
            sop_instance_uid=str(one.dataset.SOPInstanceUID),
            series_instance_uid=str(one.dataset.SeriesInstanceUID),
        )
        for those in first.values()
        for one in those
    )
    identity = replace(IDENTITY, input_digest="1" * 64, revision=2, predecessors=predecessors)
    second = made(volume, thresholds, identity)
    assert not set(names(first)) & set(names(second))
    for form in FORMS:
        before = first[form][0].dataset
        for after in written(second, form.output):
            assert after.SeriesDescription == "Thresholds (test) (revision 2)"
            if form.output is Output.RTSTRUCT:
                [earlier] = after.PredecessorStructureSetSequence
                assert earlier.ReferencedSOPInstanceUID == before.SOPInstanceUID
                assert earlier.ReferencedSOPClassUID == before.SOPClassUID
            else:
                [related] = after.RelatedSeriesSequence
                assert related.SeriesInstanceUID == before.SeriesInstanceUID
                assert related.StudyInstanceUID == before.StudyInstanceUID


@pytest.mark.parametrize("colour", [(241, 214, 145), (255, 0, 0), (0, 0, 255), (3, 90, 0)])
def test_the_colour_of_a_segment_is_the_descriptors(
    volume: SeriesVolume, thresholds: Model, colour: tuple[int, int, int]
) -> None:
    kidney, tissue = thresholds.descriptor.segments
    segments = (kidney.model_copy(update={"colour_rgb": colour}), tissue)
    descriptor = thresholds.descriptor.model_copy(update={"segments": segments})
    objects = made(volume, replace(thresholds, descriptor=descriptor))
    for dataset in written(objects, *SEGMENTED):
        assert rgb_of(dataset.SegmentSequence[-1].RecommendedDisplayCIELabValue) == colour
        assert rgb_of(dataset.SegmentSequence[-2].RecommendedDisplayCIELabValue) == (221, 130, 101)
    [structures] = written(objects, Output.RTSTRUCT)
    assert tuple(structures.ROIContourSequence[1].ROIDisplayColor) == colour


def rgb_of(encoded: list[int]) -> tuple[int, int, int]:
    """Decode L*a*b* (PS3.3 C.10.7.1.1) to sRGB as DCMTK and dcmjs do, for the white point D65."""
    lightness, a, b = np.array(encoded) / 65535 * [100, 255, 255] - [0, 128, 128]
    y = (lightness + 16) / 116
    roots = np.array([y + a / 500, y, y - b / 200])
    relative = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29))
    linear = np.linalg.solve(_XYZ_OF_RGB, relative * _XYZ_OF_RGB.sum(axis=1)).clip(0, 1)
    bent = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    red, green, blue = (round(float(value)) for value in bent * 255)
    return red, green, blue
