"""SEG BINARY, LABELMAP and FRACTIONAL, read back by highdicom's and by pydicom's own readers."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from highdicom.seg import segread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from gateway.errors import ModelFailed
from gateway.inference import Model, Output, SeriesVolume, part10, read_series_volume
from gateway.inference.forms import DEFAULT, Form
from gateway.testing.scanner import Plane
from tests.peers.corpus import Corpus
from tests.unit.inference.bundles import phantom_series
from tests.unit.inference.results import (
    FRACTIONAL,
    LABELMAP,
    labelled,
    made_of,
    reread,
    segmented,
)


@pytest.fixture
def volume(tmp_path: Path) -> SeriesVolume:
    return read_series_volume(phantom_series(tmp_path / "series"))


def by_highdicom(file: bytes, volume: SeriesVolume) -> npt.NDArray[Any]:
    """Read (segments, slices, rows, columns) by the instances that frames are said to show."""
    seg = segread(BytesIO(file))
    read = seg.get_pixels_by_source_instance(
        [str(source.SOPInstanceUID) for source in volume.sources],
        assert_missing_frames_are_empty=True,
        rescale_fractional=False,
    )
    return np.moveaxis(read, -1, 0)


def by_pydicom(file: bytes, volume: SeriesVolume) -> npt.NDArray[Any]:
    """Read the same by the places that frames are said to have."""
    seg = reread(segread(BytesIO(file)))
    places = [np.array(source.ImagePositionPatient, dtype=float) for source in volume.sources]
    is_label_map = seg.SegmentationType == "LABELMAP"
    described = [item.SegmentNumber for item in seg.SegmentSequence if item.SegmentNumber]
    read = np.zeros((len(described), *volume.array.shape), dtype=np.uint8)
    frames = seg.pixel_array.reshape(-1, *volume.array.shape[1:])
    shared = seg.SharedFunctionalGroupsSequence[0].get("SegmentIdentificationSequence")
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        index = int(np.argmin([np.linalg.norm(place - one) for one in places]))
        assert np.linalg.norm(place - places[index]) < 1e-3
        if is_label_map:
            for number in described:
                read[number - 1, index] = frame == number
        else:
            [segment] = group.get("SegmentIdentificationSequence", shared)
            number = segment.ReferencedSegmentNumber
            read[number - 1, index] = frame
    return read


@pytest.mark.parametrize("plane", list(Plane))
@pytest.mark.parametrize("form", [DEFAULT, LABELMAP, FRACTIONAL], ids=lambda form: form.output)
@pytest.mark.parametrize("omit_empty_frames", [True, False])
def test_two_readers_agree_on_every_voxel(
    plane: Plane, form: Form, omit_empty_frames: bool, tmp_path: Path, thresholds: Model
) -> None:
    volume = read_series_volume(phantom_series(tmp_path, plane))
    label_map = labelled(volume)
    label_map[label_map == 2] *= np.uint8(1)
    label_map[:4] = 0
    result = segmented(volume, label_map, thresholds, with_probabilities=True)
    form = Form(output=form.output, omit_empty_frames=omit_empty_frames)
    [made] = made_of(result, form)
    file = part10(made.dataset)
    expected: npt.NDArray[Any] = np.stack([label_map == number for number in (1, 2)])
    if form.output is Output.FRACTIONAL:
        assert result.probabilities is not None
        expected = result.probabilities
    assert np.array_equal(by_highdicom(file, volume), expected)
    assert np.array_equal(by_pydicom(file, volume), expected)
    frames = 19 * (1 if form.output is Output.LABELMAP else 2)
    assert (made.dataset.NumberOfFrames == frames) == (not omit_empty_frames)


@pytest.mark.parametrize(
    ("output", "transfer_syntax_uid"),
    [
        (Output.SEG, ImplicitVRLittleEndian),
        (Output.SEG, DeflatedExplicitVRLittleEndian),
        (Output.LABELMAP, RLELossless),
        (Output.LABELMAP, JPEGLSLossless),
        (Output.LABELMAP, DeflatedExplicitVRLittleEndian),
        (Output.FRACTIONAL, JPEG2000Lossless),
        (Output.FRACTIONAL, RLELossless),
    ],
)
def test_another_transfer_syntax_keeps_every_voxel(
    output: Output, transfer_syntax_uid: str, volume: SeriesVolume, thresholds: Model
) -> None:
    result = segmented(volume, labelled(volume), thresholds, with_probabilities=True)
    plain, encoded = (
        made_of(result, Form(output=output, transfer_syntax_uid=uid))[0]
        for uid in ("1.2.840.10008.1.2.1", transfer_syntax_uid)
    )
    read = reread(encoded.dataset)
    assert read.file_meta.TransferSyntaxUID == transfer_syntax_uid
    assert np.array_equal(read.pixel_array, reread(plain.dataset).pixel_array)
    assert read.SOPInstanceUID != plain.dataset.SOPInstanceUID


def test_a_most_of_frames_parts_a_segmentation_between_segments(
    volume: SeriesVolume, thresholds: Model
) -> None:
    result = segmented(volume, labelled(volume), thresholds)
    [whole] = made_of(result, Form(output=Output.SEG, max_frames=38))
    parts = made_of(result, Form(output=Output.SEG, max_frames=20))
    assert [dict(part.segment_numbers) for part in parts] == [{1: 1}, {2: 1}]
    assert [part.dataset.InstanceNumber for part in parts] == [1, 2]
    assert len({part.dataset.SeriesInstanceUID for part in parts}) == 1
    assert len({part.dataset.SOPInstanceUID for part in parts}) == 2
    joined = np.concatenate([by_pydicom(part10(part.dataset), volume) for part in parts])
    assert np.array_equal(joined, by_pydicom(part10(whole.dataset), volume))


def test_a_label_map_without_labels_is_one_empty_frame(
    volume: SeriesVolume, thresholds: Model
) -> None:
    nothing = np.zeros_like(labelled(volume))
    for form in (LABELMAP, FRACTIONAL):
        result = segmented(volume, nothing, thresholds, with_probabilities=True)
        [made] = made_of(result, form)
        read = reread(made.dataset)
        assert read.NumberOfFrames == 1
        assert not read.pixel_array.any()


def test_segments_have_the_same_names_in_every_form(
    volume: SeriesVolume, thresholds: Model
) -> None:
    result = segmented(volume, labelled(volume), thresholds, with_probabilities=True)
    for made in made_of(result, DEFAULT, LABELMAP, FRACTIONAL):
        kidney = reread(made.dataset).SegmentSequence[-1]
        assert (kidney.SegmentNumber, kidney.SegmentLabel) == (2, "Left kidney")
        assert kidney.TrackingUID == result.tracking_uid(thresholds.descriptor.segments[0])
        [kind] = kidney.SegmentedPropertyTypeCodeSequence
        assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
        assert len(kidney.RecommendedDisplayCIELabValue) == 3
        assert made.segment_numbers == {1: 1, 2: 2}


def test_equal_inputs_give_equal_bytes_in_every_form(
    volume: SeriesVolume, thresholds: Model
) -> None:
    result = segmented(volume, labelled(volume), thresholds, with_probabilities=True)
    for form in (DEFAULT, LABELMAP, FRACTIONAL, Form(output=Output.SEG, omit_empty_frames=False)):
        files = [part10(made_of(result, form)[0].dataset) for _ in range(2)]
        assert files[0] == files[1]


def test_labels_do_not_become_probabilities(volume: SeriesVolume, thresholds: Model) -> None:
    with pytest.raises(ModelFailed, match="gave labels where its descriptor"):
        made_of(segmented(volume, labelled(volume), thresholds), FRACTIONAL)


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanner wrote
def test_a_frame_of_a_multi_frame_source_is_named(corpus: Corpus, thresholds: Model) -> None:
    [path, *_] = corpus.folder("mr-siemens-xa10-enhanced/Siemens/XA10")
    volume = read_series_volume([path])
    label_map = (volume.array > np.percentile(volume.array, 90)).astype(np.uint8)
    for form in (DEFAULT, LABELMAP):
        [made] = made_of(segmented(volume, label_map, thresholds), form)
        read = reread(made.dataset)
        [series] = read.ReferencedSeriesSequence
        [instance] = series.ReferencedInstanceSequence
        assert instance.ReferencedSOPInstanceUID == volume.sources[0].SOPInstanceUID
        frames = read.pixel_array.reshape(-1, *label_map.shape[1:])
        for frame, group in zip(frames, read.PerFrameFunctionalGroupsSequence, strict=True):
            [source] = group.DerivationImageSequence[0].SourceImageSequence
            assert source.ReferencedSOPInstanceUID == instance.ReferencedSOPInstanceUID
            index = volume.frame_numbers.index(int(source.ReferencedFrameNumber))
            assert np.array_equal(frame, label_map[index])
