"""Stored values become the values that models were trained on."""

import time

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEG2000Lossless

from gateway.dicom.pixels import Rescale, frame_values, modality_values
from gateway.dicom.reasons import InputReason
from gateway.errors import InputRefused
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, Pixels, scan
from tests.peers.corpus import Corpus
from tests.unit.dicom.images import enhanced, slices

RAW_LIMIT = {1: (-2048, 2047), 0: (0, 4095)}


def image(pixels: Pixels = Pixels.SIGNED_16) -> Dataset:
    acquisition = Acquisition(
        rows=8,
        columns=6,
        slices=1,
        row_spacing_mm=12,
        column_spacing_mm=12,
        centre_lps_mm=(31.0, -47.0, 112.0),
        pixels=pixels,
    )
    return scan(Anatomy.asymmetric_object(), acquisition)[0]


def test_values_are_float32_in_rows_and_columns() -> None:
    values = modality_values(image())
    assert values.dtype == np.float32
    assert values.shape == (8, 6)


def test_signed_and_unsigned_storage_give_the_same_values() -> None:
    signed, unsigned = image(Pixels.SIGNED_16), image(Pixels.UNSIGNED_12)
    assert unsigned.RescaleIntercept == -1024
    assert np.array_equal(modality_values(signed), modality_values(unsigned))


def test_slope_and_intercept_of_the_instance_apply() -> None:
    dataset = image()
    before = modality_values(dataset)
    dataset.RescaleSlope, dataset.RescaleIntercept = "0.25", "-12.5"
    assert np.array_equal(modality_values(dataset), before * np.float32(0.25) - np.float32(12.5))


def test_an_image_without_rescale_keeps_its_stored_values() -> None:
    dataset = image()
    before = modality_values(dataset)
    del dataset.RescaleSlope, dataset.RescaleIntercept
    assert np.array_equal(modality_values(dataset), before)


def test_monochrome1_is_a_way_of_showing_and_inverts_nothing() -> None:
    dataset = image()
    before = modality_values(dataset)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    assert np.array_equal(modality_values(dataset), before)


def test_bits_above_the_stored_ones_are_no_part_of_the_value() -> None:
    clean = image(Pixels.UNSIGNED_12)
    dirty = image(Pixels.UNSIGNED_12)
    stored = np.frombuffer(dirty.PixelData, "<u2") | 0xF000
    dirty.PixelData = stored.tobytes()
    assert np.array_equal(modality_values(dirty), modality_values(clean))


@pytest.mark.parametrize(
    ("values", "reason", "message"),
    [
        (
            {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
            InputReason.COLOUR,
            "a colour image",
        ),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, InputReason.COLOUR, "a colour image"),
        ({"ModalityLUTSequence": [Dataset()]}, InputReason.MODALITY_LUT, "Modality LUT"),
    ],
)
def test_an_image_that_has_no_grayscale_values_is_refused(
    values: dict[str, object], reason: InputReason, message: str
) -> None:
    dataset = image()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    with pytest.raises(InputRefused, match=message) as caught:
        modality_values(dataset)
    assert caught.value.reason == reason
    assert caught.value.instances == (dataset.SOPInstanceUID,)


def test_pixels_that_do_not_decode_are_refused_with_instance_and_transfer_syntax() -> None:
    dataset = image()
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00junk"
    dataset["PixelData"].VR = "OB"
    with pytest.raises(InputRefused) as caught:
        modality_values(dataset)
    assert str(dataset.SOPInstanceUID) in str(caught.value)
    assert f"JPEG 2000 Image Compression (Lossless Only) ({JPEG2000Lossless})" in str(caught.value)


@pytest.fixture
def compressed() -> Dataset:
    """A slice of 512 x 512 in JPEG 2000."""
    dataset = scan(Anatomy.torso(), Acquisition(slices=1))[0]
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    return dataset


def test_an_image_is_decoded_by_one_thread(compressed: Dataset) -> None:
    started, used = time.perf_counter(), time.process_time()
    for _ in range(5):
        modality_values(compressed)
    assert time.process_time() - used < 1.25 * (time.perf_counter() - started)


def test_where_the_preferred_codec_fails_another_decodes(
    compressed: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = modality_values(compressed)
    monkeypatch.delitem(get_decoder(JPEG2000Lossless)._available, "pylibjpeg")
    assert np.array_equal(modality_values(compressed), before)
    [frame] = frame_values(compressed, [(1, Rescale.from_item(compressed, compressed))])
    assert np.array_equal(frame, before)


def test_an_instance_without_pixel_data_is_refused() -> None:
    dataset = image()
    del dataset.PixelData
    with pytest.raises(InputRefused, match="cannot be decoded"):
        modality_values(dataset)


def test_frames_come_in_the_order_asked_for_each_with_its_own_rescale() -> None:
    dataset = enhanced(slices(np.arange(24).reshape(3, 2, 4), np.eye(4)[:, [2, 1, 0, 3]]))
    asked = [(3, Rescale(slope=2.0)), (1, Rescale(intercept=-100.0))]
    last, first = frame_values(dataset, asked)
    assert np.array_equal(last, 2 * np.arange(16, 24).reshape(2, 4))
    assert np.array_equal(first, np.arange(8).reshape(2, 4) - 100)
    assert last.dtype == first.dtype == np.float32


def test_a_colour_image_of_many_frames_is_refused() -> None:
    dataset = enhanced(slices(np.zeros((3, 2, 4)), np.eye(4)[:, [2, 1, 0, 3]]))
    dataset.SamplesPerPixel = 3
    with pytest.raises(InputRefused, match="colour"):
        list(frame_values(dataset, [(1, Rescale())]))


@pytest.mark.corpus
def test_every_lossless_transfer_syntax_gives_the_same_values(corpus: Corpus) -> None:
    folders = ["compressed_j2k", "compressed_jpeg", "compressed_jpegls", "compressed_rle"]
    series = [
        [
            modality_values(dcmread(path))
            for path in corpus.folder(f"dicom2nifti/generic/{name}/001")
        ]
        for name in folders
    ]
    assert all(np.array_equal(series[0], other) for other in series[1:])
    assert np.any(series[0])


@pytest.mark.corpus
def test_byte_orders_and_value_representations_give_the_same_values(corpus: Corpus) -> None:
    values = [modality_values(dcmread(p)) for p in corpus.folder("dicomparser-endian-encaps")]
    assert len(values) == 3
    assert all(np.array_equal(values[0], other) for other in values[1:])


@pytest.mark.corpus
def test_the_dirty_upper_bits_of_a_real_scanner_are_masked(corpus: Corpus) -> None:
    for path in corpus.folder("mr-siemens-12bit"):
        dataset = dcmread(path)
        low, high = RAW_LIMIT[dataset.PixelRepresentation]
        values = modality_values(dataset)
        assert low <= values.min()
        assert values.max() <= high
