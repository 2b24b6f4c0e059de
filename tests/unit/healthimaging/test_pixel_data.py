"""Frames put together: decoded, kept, packed; verified each."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames

from gateway.errors import FrameUnreadable
from gateway.healthimaging.elements import ElementReader
from gateway.healthimaging.instance import Instance, with_elements
from gateway.healthimaging.metadata import InstanceMetadata
from gateway.healthimaging.pixel_data import PixelEncoding, pixel_data
from tests.unit.healthimaging.made import crc32, htj2k, image

RANDOM = np.random.default_rng(20)
DECODED, AS_STORED = PixelEncoding.DECODED, PixelEncoding.AS_STORED
JPEG, HTJ2K, JPEG_2000 = (f"1.2.840.10008.1.2.4.{last}" for last in (50, 202, 90))
EXPLICIT = "1.2.840.10008.1.2.1"
MPEG_4 = "1.2.840.10008.1.2.4.102"


def read(
    metadata: InstanceMetadata,
    frames: Sequence[tuple[bytes, int | None]],
    wanted: PixelEncoding = DECODED,
) -> Any:
    """Assemble an instance, write it as a file, and read that."""
    pixels = pixel_data(metadata, wanted)
    for index in reversed(range(len(frames))):
        pixels.put(index, *frames[index])
    instance = Instance(
        study_instance_uid="1.2",
        series_instance_uid="1.2.1",
        sop_instance_uid="1.2.3",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid=pixels.transfer_syntax_uid(),
        content=with_elements(metadata.read(ElementReader()), list(pixels.elements())),
    )
    return dcmread(io.BytesIO(b"".join(instance.part10())))


def noise(shape: tuple[int, ...], low: int, high: int, dtype: str) -> npt.NDArray[Any]:
    return RANDOM.integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize(
    "pixels",
    [
        noise((16, 20), 0, 65536, "u2"),
        noise((16, 20), -32768, 32768, "i2"),
        noise((16, 20), 0, 256, "u1"),
        noise((15, 21), 0, 256, "u1"),
        noise((16, 20), -128, 128, "i1"),
        noise((16, 20), 0, 1 << 30, "u4"),
        noise((16, 20, 3), 0, 256, "u1"),
        noise((16, 20, 3), 0, 65536, "u2"),
    ],
    ids=lambda pixels: f"{pixels.dtype}-{pixels.shape}",
)
def test_decoded_frames_are_the_pixels(pixels: npt.NDArray[Any]) -> None:
    dataset = read(image(pixels), [(htj2k(pixels), crc32(pixels))])
    assert dataset.file_meta.TransferSyntaxUID == EXPLICIT
    assert (dataset.pixel_array == pixels).all()
    assert len(dataset.PixelData) % 2 == 0


def test_colour_is_by_pixel_whether_its_components_were_mixed_or_not() -> None:
    pixels = noise((16, 20, 3), 0, 256, "u1")
    for mixed in (True, False):
        frame = bytes(imagecodecs.htj2k_encode(pixels, reversible=True, rgb=mixed, planar=False))
        assert read(image(pixels), [(frame, crc32(pixels))]).PixelData == pixels.tobytes()


def test_few_bits_are_put_into_as_many_as_are_allocated() -> None:
    """Decoders give bytes for 8 bits and fewer; the checksum may be of either form."""
    pixels = noise((16, 20), 0, 256, "u2")
    narrow = pixels.astype("u1")
    metadata = image(narrow, bits_allocated=16)
    for checksum in (crc32(pixels), crc32(narrow)):
        dataset = read(metadata, [(htj2k(narrow), checksum)])
        assert (dataset["PixelData"].VR, dataset.PixelData) == ("OW", pixels.tobytes())


def test_negative_values_of_few_bits_stay_negative() -> None:
    narrow = noise((16, 20), -128, 128, "i1")
    dataset = read(image(narrow, bits_allocated=16), [(htj2k(narrow), None)])
    assert (dataset.pixel_array == narrow).all()


def test_many_frames_come_in_their_order() -> None:
    frames = [noise((16, 20), 0, 4096, "u2") for _ in range(7)]
    dataset = read(image(frames[0], frames=7), [(htj2k(f), crc32(f)) for f in frames])
    assert (dataset.pixel_array == np.stack(frames)).all()


@pytest.mark.parametrize(
    ("stored", "decoded"),
    [("YBR_RCT", "RGB"), ("YBR_FULL_422", "YBR_FULL"), ("YBR_FULL", "YBR_FULL"), ("RGB", "RGB")],
)
def test_decoded_colour_is_called_what_it_is(stored: str, decoded: str) -> None:
    pixels = noise((16, 20, 3), 0, 256, "u1")
    metadata = image(pixels, PhotometricInterpretation=stored, PlanarConfiguration=1)
    dataset = read(metadata, [(htj2k(pixels), crc32(pixels))])
    assert dataset.PhotometricInterpretation == decoded
    assert dataset.PlanarConfiguration == 0
    assert dataset.PixelData == pixels.tobytes()


def test_a_checksum_of_colour_may_be_by_plane() -> None:
    pixels = noise((16, 20, 3), 0, 256, "u1")
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    assert read(image(pixels), [(htj2k(pixels), crc32(planes))]).PixelData == pixels.tobytes()


def test_jpeg_2000_is_decoded_whatever_the_data_store_said() -> None:
    pixels = noise((16, 20), 0, 4096, "u2")
    frame = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="J2K")
    for stored in ("", HTJ2K, JPEG_2000):
        dataset = read(image(pixels, stored=stored), [(bytes(frame), crc32(pixels))])
        assert (dataset.pixel_array == pixels).all()


def test_transcoded_frames_stay_encapsulated_on_request() -> None:
    frames = [noise((16, 20, 3), 0, 256, "u1") for _ in range(3)]
    encoded = [htj2k(frame) for frame in frames]
    checked = [(e, crc32(f)) for e, f in zip(encoded, frames, strict=True)]
    dataset = read(image(frames[0], frames=3), checked, AS_STORED)
    assert dataset.file_meta.TransferSyntaxUID == HTJ2K
    assert dataset.PhotometricInterpretation == "YBR_RCT"
    found = list(generate_frames(dataset.PixelData, number_of_frames=3))
    assert [frame.rstrip(b"\0") for frame in found] == [frame.rstrip(b"\0") for frame in encoded]


def test_jpeg_2000_stays_jpeg_2000_on_request() -> None:
    pixels = noise((16, 20), 0, 4096, "u2")
    frame = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="J2K")
    dataset = read(image(pixels), [(bytes(frame), crc32(pixels))], AS_STORED)
    assert dataset.file_meta.TransferSyntaxUID == JPEG_2000


def test_kept_frames_are_as_they_were_each_found_by_its_offset() -> None:
    encoded = [bytes([n]) * (11 + n) for n in range(4)]
    metadata = image(np.zeros((8, 8), "u1"), frames=4, stored=JPEG)
    dataset = read(metadata, [(frame, zlib.crc32(frame)) for frame in encoded])
    assert dataset.file_meta.TransferSyntaxUID == JPEG
    assert (dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length) == ("OB", True)
    _, length = struct.unpack("<II", dataset.PixelData[:8])
    assert struct.unpack("<4I", dataset.PixelData[8 : 8 + length]) == (0, 20, 40, 62)
    found = list(generate_frames(dataset.PixelData, number_of_frames=4))
    assert [frame[: 11 + n] for n, frame in enumerate(found)] == encoded


def test_a_video_is_one_object_of_many_frames() -> None:
    metadata = image(np.zeros((8, 8, 3), "u1"), stored=MPEG_4, NumberOfFrames="250")
    dataset = read(metadata, [(b"\0\0\1moving", None)])
    assert dataset.file_meta.TransferSyntaxUID == MPEG_4
    (video,) = generate_frames(dataset.PixelData, number_of_frames=1)
    assert video.rstrip(b"\0") == b"\0\0\1moving"


@pytest.mark.parametrize("shape", [(8, 8), (5, 5), (3, 7)])
@pytest.mark.parametrize("together", [True, False])
def test_binary_frames_are_packed_without_a_gap(shape: tuple[int, int], together: bool) -> None:
    frames = RANDOM.integers(0, 2, (5, *shape)).astype("u1")
    metadata = image(frames[0], frames=5, stored=EXPLICIT, BitsAllocated=1, BitsStored=1)
    parts = [frames] if together else list(frames)
    if together:
        metadata = image(
            frames[0], stored=EXPLICIT, BitsAllocated=1, BitsStored=1, NumberOfFrames="5"
        )
    packed = [np.packbits(part.ravel(), bitorder="little").tobytes() for part in parts]
    dataset = read(metadata, [(part, zlib.crc32(part)) for part in packed])
    assert (dataset.pixel_array == frames).all()
    assert len(dataset.PixelData) == -(-frames.size // 16) * 2


def test_transcoded_binary_frames_are_packed_again() -> None:
    frames = RANDOM.integers(0, 2, (3, 5, 7)).astype("u1")
    metadata = image(frames[0], frames=3, BitsAllocated=1, BitsStored=1)
    dataset = read(metadata, [(htj2k(frame), crc32(frame)) for frame in frames])
    assert (dataset.pixel_array == frames).all()


@pytest.mark.parametrize(
    ("dtype", "keyword"), [("f4", "FloatPixelData"), ("f8", "DoubleFloatPixelData")]
)
def test_floating_point_pixels_have_an_element_of_their_own(dtype: str, keyword: str) -> None:
    content = np.linspace(0, 1, 64, dtype=dtype).reshape(8, 8)
    metadata = image(content, stored=EXPLICIT, PixelRepresentation=None)
    dataset = read(metadata, [(content.tobytes(), zlib.crc32(content.tobytes()))])
    assert dataset[keyword].value == content.tobytes()
    assert "PixelData" not in dataset


PIXELS = noise((16, 20), 0, 4096, "u2")
WHOLE = htj2k(PIXELS)


@pytest.mark.parametrize(
    ("metadata", "frame", "checksum", "why"),
    [
        (image(PIXELS), WHOLE, crc32(PIXELS) ^ 1, "checksum"),
        (image(PIXELS), WHOLE[:-40], crc32(PIXELS), "checksum|cannot be decoded"),
        (image(PIXELS), WHOLE[:30], None, "ends too early"),
        (image(PIXELS), b"", None, "no JPEG 2000"),
        (image(PIXELS), b"GIF89a" * 20, None, "no JPEG 2000"),
        (image(PIXELS[:8]), WHOLE, None, "16 rows"),
        (image(PIXELS, SamplesPerPixel=3), WHOLE, None, "1 components"),
        (image(PIXELS, stored=JPEG), b"some", 7, "checksum"),
        (image(PIXELS, stored=EXPLICIT), b"some", None, "4 bytes instead of 640"),
    ],
)
def test_a_frame_that_is_not_the_one_is_refused(
    metadata: InstanceMetadata, frame: bytes, checksum: int | None, why: str
) -> None:
    pixels = pixel_data(metadata, DECODED)
    with pytest.raises(FrameUnreadable, match=why):
        pixels.put(0, frame, checksum)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"Rows": None}, "Rows"),
        ({"Rows": "x"}, "Rows"),
        ({"BitsAllocated": 12}, "12 bits"),
        ({"NumberOfFrames": "2"}, "announces 2 frames"),
        ({"NumberOfFrames": "3", "stored": EXPLICIT, "frames_stored": 2}, "announces 3 frames"),
        ({"Rows": 65535, "Columns": 65535}, "more than an element holds"),
    ],
)
def test_a_pixel_module_that_does_not_say_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(FrameUnreadable, match=why):
        pixel_data(image(PIXELS, **more), DECODED)


def test_a_frame_may_be_put_again_after_one_that_was_refused() -> None:
    pixels = pixel_data(image(PIXELS), DECODED)
    with pytest.raises(FrameUnreadable):
        pixels.put(0, htj2k(PIXELS + 1), crc32(PIXELS))
    pixels.put(0, WHOLE, crc32(PIXELS))
    assert pixels.elements()[0].value == PIXELS.tobytes()
