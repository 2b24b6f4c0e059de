"""Frames of an instance in the form in which a data store keeps them.

What was lossless, or not compressed, is decoded and encoded again in the data store's lossless
format; what is lossy already, video, and segmentations of one bit stay as they are. Source:
HealthImaging developer guide, "Supported transfer syntaxes".
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGExtended12Bit,
    MPEGTransferSyntaxes,
)

from gateway.testing.healthimaging.behaviour import StorageFormat
from gateway.testing.healthimaging.codestreams import Pixels, encoded

_JPEG_XL = "1.2.840.10008.1.2.4.112"
_KEPT = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"})
_FLOATS = ("FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedFrame:
    """One frame as it is stored; ``checksum`` is a CRC-32.

    It is taken over the decoded pixels of frames that were encoded here, else over ``content``.
    The extremes are None for what was not decoded.
    """

    content: bytes
    width: int
    height: int
    checksum: int
    minimum: int | None = None
    maximum: int | None = None


def has_pixels(dataset: Dataset) -> bool:
    """Tell whether an instance has frames at all."""
    return any(keyword in dataset for keyword in ("PixelData", *_FLOATS))


def stored_transfer_syntax(dataset: Dataset, storage_format: StorageFormat) -> str:
    """Return the transfer syntax in which the frames of an instance are stored."""
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if _is_kept(syntax):
        return str(syntax)
    if not has_pixels(dataset) or _is_bits(dataset) or _float_keyword(dataset):
        return str(ExplicitVRLittleEndian)
    return storage_format.transfer_syntax_uid


def stored_frames(dataset: Dataset, storage_format: StorageFormat) -> Iterator[EncodedFrame]:
    """Give the frames of an instance one after the other.

    Raises what pydicom's decoders raise where pixel data cannot be decoded.
    """
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if not has_pixels(dataset):
        return iter(())
    if _is_kept(syntax):
        return _encapsulated(dataset, is_video=_is_video(syntax))
    if _float_keyword(dataset):
        return _slices(dataset)
    if _is_bits(dataset):
        return _bits(dataset)
    return _transcoded(dataset, storage_format)


def number_of_frames(dataset: Dataset) -> int:
    """Return how many frames an instance says to have; one where it does not say."""
    try:
        return max(1, int(dataset.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):
        return 1


def is_transcoded(transfer_syntax_uid: str) -> bool:
    """Tell whether stored frames of this transfer syntax were encoded here."""
    return any(transfer_syntax_uid == one.transfer_syntax_uid for one in StorageFormat)


def _is_video(syntax: UID) -> bool:
    # The fragmentable variants have the UID of the other with .1 after it.
    return any(str(syntax).removesuffix(".1") == one for one in MPEGTransferSyntaxes)


def _is_kept(syntax: UID) -> bool:
    return str(syntax) in _KEPT or syntax == _JPEG_XL or _is_video(syntax)


def _is_bits(dataset: Dataset) -> bool:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    return dataset.get("BitsAllocated") == 1 and not syntax.is_encapsulated


def _float_keyword(dataset: Dataset) -> str | None:
    return next((keyword for keyword in _FLOATS if keyword in dataset), None)


def _encapsulated(dataset: Dataset, *, is_video: bool) -> Iterator[EncodedFrame]:
    # A video is one frame to the service, however many pictures it has.
    count = 1 if is_video else number_of_frames(dataset)
    for content in generate_frames(dataset.PixelData, number_of_frames=count):
        yield _unchanged(dataset, content)


def _bits(dataset: Dataset) -> Iterator[EncodedFrame]:
    """Give frames of one bit, each from a byte of its own on.

    In Pixel Data they follow each other without a gap (PS3.5 section 8.1.1), in words whose bytes
    are swapped where they are big endian.
    """
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    is_big = dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    if is_big and dataset["PixelData"].VR == "OW":
        packed = packed.view(np.uint16).byteswap().view(np.uint8)
    length = int(dataset.Rows) * int(dataset.Columns)
    count = number_of_frames(dataset)
    bits = np.unpackbits(packed, count=length * count, bitorder="little")
    for frame in bits.reshape(count, length):
        yield _unchanged(dataset, np.packbits(frame, bitorder="little").tobytes())


def _slices(dataset: Dataset) -> Iterator[EncodedFrame]:
    keyword = _float_keyword(dataset) or ""
    content = bytes(dataset[keyword].value)
    length = int(dataset.Rows) * int(dataset.Columns) * (4 if keyword == _FLOATS[0] else 8)
    for start in range(0, length * number_of_frames(dataset), length):
        yield _unchanged(dataset, content[start : start + length])


def _unchanged(dataset: Dataset, content: bytes) -> EncodedFrame:
    return EncodedFrame(
        content=content,
        width=int(dataset.Columns),
        height=int(dataset.Rows),
        checksum=zlib.crc32(content),
    )


def _transcoded(dataset: Dataset, storage_format: StorageFormat) -> Iterator[EncodedFrame]:
    for pixels in _pixels(dataset):
        yield encoded_frame(pixels, storage_format)


def _pixels(dataset: Dataset) -> Iterator[Pixels]:
    """Give decoded frames; JPEG of 12 bits, which pydicom's plugins leave out, by libjpeg-turbo."""
    if dataset.file_meta.TransferSyntaxUID != JPEGExtended12Bit:
        yield from iter_pixels(dataset, raw=True)
        return
    kind = f"{'i' if dataset.PixelRepresentation else 'u'}{dataset.BitsAllocated // 8}"
    for content in generate_frames(dataset.PixelData, number_of_frames=number_of_frames(dataset)):
        yield np.asarray(imagecodecs.jpeg_decode(content)).astype(kind)


def encoded_frame(pixels: Pixels, storage_format: StorageFormat) -> EncodedFrame:
    """Encode one frame, and take its CRC-32 over little endian pixels, colour by pixel."""
    little: Pixels = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return EncodedFrame(
        content=encoded(little, storage_format),
        width=int(pixels.shape[1]),
        height=int(pixels.shape[0]),
        checksum=zlib.crc32(little.tobytes()),
        minimum=int(pixels.min()),
        maximum=int(pixels.max()),
    )
