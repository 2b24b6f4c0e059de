"""Frames in every transfer syntax that is taken: transcoded without loss, or kept as they are."""

import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
)

from gateway.testing.healthimaging.behaviour import StorageFormat
from gateway.testing.healthimaging.codestreams import decoded, encoded
from gateway.testing.healthimaging.description import Describer
from gateway.testing.healthimaging.file_warnings import FileWarning
from gateway.testing.healthimaging.instances import InstanceReader, StoredInstance
from gateway.testing.healthimaging.storage import Storage
from tests.peers.corpus import Corpus
from tests.unit.testing.healthimaging.datasets import changed, example, file_of

HTJ2K_LOSSY = UID("1.2.840.10008.1.2.4.203")
MPEG4 = UID("1.2.840.10008.1.2.4.102")
TRANSCODED = [
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_palette.dcm",
]
TRANSCODED_32_BITS = ["SC_rgb_rle_32bit.dcm", "rtdose.dcm"]
KEPT = ["JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm"]


@pytest.fixture
def storage(folder: Path) -> Storage:
    """An empty folder of frames."""
    folder.mkdir()
    return Storage(folder=folder)


def stored(
    dataset: Dataset, storage: Storage, storage_format: StorageFormat = StorageFormat.HTJ2K
) -> StoredInstance:
    reader = InstanceReader(storage=storage, describer=Describer())
    return reader.read(file_of(dataset), storage_format)


def with_uids(dataset: Dataset) -> Dataset:
    """Return a data set with the names that some examples lack."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not dataset.get(keyword):
            setattr(dataset, keyword, "1.2.3")
    if not dataset.get("SOPClassUID"):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    return dataset


@pytest.mark.parametrize(
    ("name", "storage_format"),
    [
        *((name, StorageFormat.HTJ2K) for name in (*TRANSCODED, *TRANSCODED_32_BITS)),
        *((name, StorageFormat.JPEG_2000_LOSSLESS) for name in TRANSCODED),
    ],
)
def test_lossless_and_native_pixels_are_transcoded_without_loss(
    name: str, storage_format: StorageFormat, storage: Storage
) -> None:
    dataset = with_uids(example(name))
    instance = stored(dataset, storage, storage_format)
    assert instance.stored_transfer_syntax_uid == storage_format.transfer_syntax_uid
    for frame, pixels in zip(instance.frames, iter_pixels(dataset, raw=True), strict=True):
        got = decoded(storage.get(frame.identifier), storage_format)
        np.testing.assert_array_equal(got, pixels)
        assert got.dtype == pixels.dtype.newbyteorder("=")
        assert frame.checksum == zlib.crc32(got.tobytes())
        assert (frame.minimum, frame.maximum) == (pixels.min(), pixels.max())
        assert (frame.height, frame.width) == pixels.shape[:2]


def test_jpeg_of_12_bits_is_transcoded_without_another_loss(storage: Storage) -> None:
    dataset = with_uids(example("JPGExtended.dcm"))
    instance = stored(dataset, storage)
    assert instance.stored_transfer_syntax_uid == HTJ2KLosslessRPCL
    (frame,) = instance.frames
    pixels = imagecodecs.htj2k_decode(storage.get(frame.identifier))
    (kept,) = generate_frames(dataset.PixelData, number_of_frames=1)
    np.testing.assert_array_equal(pixels, imagecodecs.jpeg_decode(kept))
    assert (frame.minimum, frame.maximum) == (0, 264)


@pytest.mark.corpus
@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"])
def test_lossless_jpeg_is_transcoded(uid: str, corpus: Corpus, storage: Storage) -> None:
    dataset = with_uids(dcmread(corpus.of_transfer_syntax(uid)[0]))
    instance = stored(dataset, storage)
    assert instance.stored_transfer_syntax_uid == HTJ2KLosslessRPCL
    for frame, pixels in zip(instance.frames, iter_pixels(dataset, raw=True), strict=True):
        got = imagecodecs.htj2k_decode(storage.get(frame.identifier))
        np.testing.assert_array_equal(got, pixels)


@pytest.mark.parametrize("name", KEPT)
def test_lossy_frames_are_kept_byte_for_byte(name: str, storage: Storage) -> None:
    dataset = with_uids(example(name))
    instance = stored(dataset, storage)
    assert instance.stored_transfer_syntax_uid == dataset.file_meta.TransferSyntaxUID
    (frame,) = instance.frames
    content = storage.get(frame.identifier)
    assert content == next(generate_frames(dataset.PixelData, number_of_frames=1))
    assert frame.checksum == zlib.crc32(content)
    assert (frame.minimum, frame.maximum) == (None, None)


@pytest.mark.corpus
def test_lossy_htj2k_is_kept_and_lossless_is_not(corpus: Corpus, storage: Storage) -> None:
    lossy, lossless = (
        with_uids(dcmread(corpus.of_transfer_syntax(uid)[0]))
        for uid in (HTJ2K_LOSSY, HTJ2KLossless)
    )
    kept = stored(lossy, storage)
    assert kept.stored_transfer_syntax_uid == HTJ2K_LOSSY
    content = next(generate_frames(lossy.PixelData, number_of_frames=1))
    assert storage.get(kept.frames[0].identifier) == content
    transcoded = stored(lossless, storage)
    assert transcoded.stored_transfer_syntax_uid == HTJ2KLosslessRPCL
    pixels = imagecodecs.htj2k_decode(storage.get(transcoded.frames[0].identifier), planar=False)
    np.testing.assert_array_equal(pixels, next(iter(iter_pixels(lossless, raw=True))))


@pytest.mark.parametrize("syntax", [MPEG4, MPEG4 + ".1"])
def test_a_video_is_one_frame(syntax: str, storage: Storage, phantom: list[Dataset]) -> None:
    video = bytes(range(256)) * 40
    dataset = changed(phantom[0], NumberOfFrames=30, PixelData=encapsulate([video]))
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    instance = stored(dataset, storage)
    assert instance.stored_transfer_syntax_uid == syntax
    (frame,) = instance.frames
    assert storage.get(frame.identifier) == video
    assert instance.warnings == ()


def test_big_endian_bits_are_those_of_little_endian(storage: Storage) -> None:
    little, big = (
        stored(with_uids(example(name)), storage)
        for name in ("liver_1frame.dcm", "liver_expb_1frame.dcm")
    )
    assert little.frames[0].checksum == big.frames[0].checksum


def test_segmentations_of_one_bit_stay_as_they_are(storage: Storage) -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (3, 5, 7), dtype=np.uint8)
    packed = np.packbits(masks.ravel(), bitorder="little").tobytes()
    dataset = changed(
        with_uids(example("liver_1frame.dcm")),
        NumberOfFrames=3,
        Rows=5,
        Columns=7,
        PixelData=packed + b"\0" * (len(packed) % 2),
    )
    instance = stored(dataset, storage)
    assert instance.stored_transfer_syntax_uid == ExplicitVRLittleEndian
    for frame, mask in zip(instance.frames, masks, strict=True):
        content = storage.get(frame.identifier)
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little", count=35)
        np.testing.assert_array_equal(bits.reshape(5, 7), mask)
        assert (frame.checksum, frame.minimum) == (zlib.crc32(content), None)


def test_parametric_maps_keep_their_floats(storage: Storage, phantom: list[Dataset]) -> None:
    values = np.linspace(0, 1, 64 * 48, dtype="<f4")
    dataset = changed(phantom[0], BitsAllocated=32, FloatPixelData=values.tobytes())
    del dataset.PixelData, dataset.PixelRepresentation
    instance = stored(dataset, storage)
    assert instance.stored_transfer_syntax_uid == ExplicitVRLittleEndian
    assert storage.get(instance.frames[0].identifier) == values.tobytes()


@pytest.mark.parametrize("name", ["test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm"])
def test_what_is_no_image_has_no_frames(name: str, storage: Storage) -> None:
    instance = stored(with_uids(example(name)), storage)
    assert (instance.frames, instance.blob, instance.warnings) == ((), None, ())


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"PixelData": b"\0\0"}, FileWarning.TRANSCODING_EXCEPTION),
        ({"BitsAllocated": 12}, FileWarning.TRANSCODING_EXCEPTION),
    ],
)
def test_what_cannot_be_decoded_is_kept_as_it_came(
    values: dict[str, object], warning: FileWarning, storage: Storage, phantom: list[Dataset]
) -> None:
    dataset = changed(phantom[0], **values)
    instance = stored(dataset, storage)
    assert instance.warnings == (warning,)
    assert instance.frames == ()
    assert instance.blob is not None
    assert storage.get(instance.blob) == file_of(dataset)
    assert instance.stored_transfer_syntax_uid == ExplicitVRLittleEndian


def test_what_jpeg_2000_cannot_hold_is_kept_as_it_came(storage: Storage) -> None:
    dataset = with_uids(example("rtdose.dcm"))
    instance = stored(dataset, storage, StorageFormat.JPEG_2000_LOSSLESS)
    assert instance.warnings == (FileWarning.TRANSCODING_EXCEPTION,)
    assert len(list(storage.folder.iterdir())) == 1


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("shape", [(64, 48), (1, 1), (3, 400), (5, 7, 3)])
def test_htj2k_holds_the_extremes_of_every_type(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    limits = np.iinfo(dtype)
    noise = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    extremes = rng.choice(np.array([limits.min, limits.max], dtype=dtype), shape)
    for pixels in (noise, extremes, np.zeros(shape, dtype)):
        got = decoded(encoded(pixels, StorageFormat.HTJ2K), StorageFormat.HTJ2K)
        assert got.dtype == pixels.dtype
        np.testing.assert_array_equal(got, pixels)


def test_htj2k_is_in_rpcl_with_tlm_and_a_prefix_is_a_smaller_image(
    phantom: list[Dataset],
) -> None:
    codestream = encoded(phantom[0].pixel_array, StorageFormat.HTJ2K)
    assert _progression(codestream) == 2
    assert b"\xff\x55" in codestream[: codestream.index(b"\xff\x90")]
    half = imagecodecs.htj2k_decode(codestream, skipres=1)
    cut = imagecodecs.htj2k_decode(codestream[: len(codestream) // 2], skipres=1, resilient=True)
    assert half.shape == cut.shape == (32, 24)


def test_jpeg_2000_is_the_lossless_transform(phantom: list[Dataset]) -> None:
    codestream = encoded(phantom[0].pixel_array, StorageFormat.JPEG_2000_LOSSLESS)
    assert codestream[:4] == b"\xff\x4f\xff\x51"
    dataset = changed(phantom[0], PixelData=encapsulate([codestream]))
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    np.testing.assert_array_equal(dataset.pixel_array, phantom[0].pixel_array)


def _progression(codestream: bytes) -> int:
    """Return the progression order of the COD marker segment (ISO/IEC 15444-1 table A.16)."""
    start = codestream.index(b"\xff\x52")
    return codestream[start + 5]
