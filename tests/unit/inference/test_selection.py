"""Which objects of a series are taken as slices, left out, or refuse it."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import UID, BasicTextSRStorage, SecondaryCaptureImageStorage

from gateway.dicom.reasons import GeometryReason, InputReason
from gateway.dicom.strays import Dropped, DroppedAs
from gateway.errors import GeometryRefused, InputRefused
from gateway.inference.selection import select_frames
from gateway.testing.scanner import write_series
from tests.unit.dicom.images import enhanced, slices

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]]


def series(count: int = 4) -> list[Dataset]:
    return slices(np.zeros((count, 3, 5)), AFFINE)


def localizer() -> Dataset:
    [dataset] = slices(np.zeros((1, 8, 8)), AFFINE, "localizer")
    dataset.SeriesInstanceUID = series()[0].SeriesInstanceUID
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.InstanceNumber = 90
    return dataset


def selected(folder: Path, datasets: list[Dataset]) -> tuple[set[str], tuple[Dropped, ...]]:
    selection = select_frames(write_series(datasets, folder))
    return {frame.sop_instance_uid for frame in selection.frames}, selection.dropped


def test_a_localizer_is_left_out_even_without_a_place(tmp_path: Path) -> None:
    stray = localizer()
    del stray.ImagePositionPatient, stray.PixelSpacing
    taken, dropped = selected(tmp_path, [*series(), stray])
    assert taken == {one.SOPInstanceUID for one in series()}
    assert dropped == (
        Dropped(sop_instance_uid=stray.SOPInstanceUID, dropped_as=DroppedAs.LOCALIZER),
    )


def test_localizer_frames_of_an_enhanced_object_are_left_out(tmp_path: Path) -> None:
    dataset = enhanced(series())
    kind = Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    dataset.PerFrameFunctionalGroupsSequence[0].CTImageFrameTypeSequence = [kind]
    selection = select_frames(write_series([dataset], tmp_path))
    assert [frame.image.plane.frame_number for frame in selection.frames] == [2, 3, 4]
    assert [one.dropped_as for one in selection.dropped] == [DroppedAs.LOCALIZER]


def test_captures_and_reports_between_slices_are_left_out(tmp_path: Path) -> None:
    capture, report = localizer(), localizer()
    capture.SOPClassUID = SecondaryCaptureImageStorage
    capture.SamplesPerPixel, capture.PhotometricInterpretation = 3, "RGB"
    report.SOPClassUID, report.SOPInstanceUID = BasicTextSRStorage, UID("1.2.3")
    report.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    report.InstanceNumber = 91
    del report.Rows, report.Columns, report.PixelData
    taken, dropped = selected(tmp_path, [*series(), capture, report])
    assert taken == {one.SOPInstanceUID for one in series()}
    assert [one.dropped_as for one in dropped] == [DroppedAs.OTHER_OBJECT] * 2


def test_a_series_of_localizers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryRefused) as caught:
        selected(tmp_path, [localizer()])
    assert caught.value.reason == GeometryReason.ONLY_LOCALIZERS
    assert caught.value.instances == (localizer().SOPInstanceUID,)


def test_a_series_without_any_file_is_refused() -> None:
    with pytest.raises(GeometryRefused) as caught:
        select_frames([])
    assert caught.value.reason == GeometryReason.NO_GEOMETRY


def test_an_image_without_matrix_is_broken_and_no_stray(tmp_path: Path) -> None:
    datasets = series()
    del datasets[3].Rows
    with pytest.raises(InputRefused) as caught:
        selected(tmp_path, datasets)
    assert caught.value.reason == InputReason.NO_IMAGE
    assert caught.value.instances == (datasets[3].SOPInstanceUID,)


@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL", "PALETTE COLOR"])
def test_a_colour_slice_refuses_the_series_before_any_pixel_is_decoded(
    tmp_path: Path, kind: str
) -> None:
    datasets = series()
    datasets[2].PhotometricInterpretation = kind
    datasets[2].PixelData = b""
    with pytest.raises(InputRefused) as caught:
        selected(tmp_path, datasets)
    assert caught.value.reason == InputReason.COLOUR
    assert caught.value.instances == (datasets[2].SOPInstanceUID,)


def test_the_same_instance_twice_is_taken_once(tmp_path: Path) -> None:
    again = series()[1]
    paths = [
        *write_series(series(), tmp_path / "a"),
        *write_series([again], tmp_path / "b"),
    ]
    selection = select_frames(paths)
    assert len(selection.frames) == 4
    assert [one.dropped_as for one in selection.dropped] == [DroppedAs.REPEATED]


def test_one_name_for_two_images_is_refused(tmp_path: Path) -> None:
    again = series()[1]
    again.PixelData = bytes(range(30))
    paths = [
        *write_series(series(), tmp_path / "a"),
        *write_series([again], tmp_path / "b"),
    ]
    with pytest.raises(GeometryRefused) as caught:
        select_frames(paths)
    assert caught.value.reason == GeometryReason.DUPLICATE_INSTANCE
    assert caught.value.instances == (again.SOPInstanceUID,)


def test_two_series_at_once_are_refused_with_an_instance_of_each(tmp_path: Path) -> None:
    datasets = series()
    datasets[3].SeriesInstanceUID = "1.2.3"
    with pytest.raises(InputRefused) as caught:
        selected(tmp_path, datasets)
    assert caught.value.reason == InputReason.SEVERAL_SERIES
    assert set(caught.value.instances) >= {datasets[3].SOPInstanceUID}
    assert len(caught.value.instances) == 2
