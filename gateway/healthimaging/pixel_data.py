"""The pixel data of an instance, put together from its frames as they come."""

from collections.abc import Sequence
from enum import StrEnum
from io import BytesIO
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import ExplicitVRLittleEndian

from gateway.errors import FrameUnreadable
from gateway.healthimaging.codestream import Codestream
from gateway.healthimaging.decoding import crc32, decode_frame
from gateway.healthimaging.elements import element
from gateway.healthimaging.frame_layout import FrameLayout
from gateway.healthimaging.metadata import InstanceMetadata
from gateway.healthimaging.values import encoded

HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
_TRANSCODED = frozenset({"", "1.2.840.10008.1.2.4.201", HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS})
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
_PIXEL_DATA, _FLOAT, _DOUBLE = 0x7FE00010, 0x7FE00008, 0x7FE00009
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
_UNDEFINED_LENGTH = 0xFFFFFFFF
_LARGEST_OFFSET_BYTES = 0xFFFFFFFE
# What a codec that subsamples or transforms colour leaves once it is undone (PS3.3 C.7.6.3.1.2).
_DECODED_COLOUR = {
    "YBR_RCT": "RGB",
    "YBR_ICT": "RGB",
    "YBR_FULL_422": "YBR_FULL",
}


class PixelEncoding(StrEnum):
    """In which form the frames of an image set are wanted."""

    DECODED = "decoded"
    """Native where the service transcoded them losslessly, else as they are stored."""
    AS_STORED = "as-stored"
    """Encapsulated as HTJ2K or JPEG 2000, without another change."""


class PixelData(Protocol):
    """Takes the frames of an instance in any order, and gives their elements."""

    def put(self, index: int, frame: bytes, checksum: int | None) -> None:
        """Take frame number ``index``, from 0, and verify it; may run in several threads.

        Raises:
            FrameUnreadable: it is broken, or is not the one with this checksum.
        """

    def transfer_syntax_uid(self) -> str:
        """Return the transfer syntax that the data set has with this pixel data."""

    def elements(self) -> Sequence[RawDataElement]:
        """Return the pixel data, and what else of the pixel module follows from its encoding."""


def pixel_data(instance: InstanceMetadata, wanted: PixelEncoding) -> PixelData:
    """Return the empty pixel data of an instance that has frames.

    Raises:
        FrameUnreadable: the pixel module does not say what the frames are, or there are more or
            fewer of them than it says.
    """
    stored = instance.stored_transfer_syntax_uid
    layout = FrameLayout.from_metadata(instance)
    if stored == ExplicitVRLittleEndian:
        return NativePixels(instance, layout)
    is_video = stored.removesuffix(".1").startswith(_VIDEO)
    if not is_video and len(instance.frames) != layout.frames:
        raise FrameUnreadable(
            f"it announces {layout.frames} frames, and the data store has {len(instance.frames)}"
        )
    if stored not in _TRANSCODED:
        return KeptPixels(stored, len(instance.frames), has_offsets=not is_video)
    if wanted is PixelEncoding.AS_STORED:
        return TranscodedPixels(instance, layout)
    return DecodedPixels(instance, layout)


class DecodedPixels:
    """Frames that the service transcoded, decoded each into its place."""

    def __init__(self, instance: InstanceMetadata, layout: FrameLayout) -> None:
        layout.require_native()
        self._instance = instance
        self._layout = layout
        # Bits are packed at the end: until then each has a byte.
        self._dtype = np.dtype(layout.dtype)
        self._frame_bytes = layout.rows * layout.columns * layout.samples * self._dtype.itemsize
        self._buffer = _zeros(self._frame_bytes * layout.frames)

    def put(self, index: int, frame: bytes, checksum: int | None) -> None:
        """Decode a frame and compare its pixels with the checksum."""
        start = index * self._frame_bytes
        place = self._buffer.getbuffer()[start : start + self._frame_bytes]
        target = np.frombuffer(place, self._dtype).reshape(self._layout.shape)
        decode_frame(frame, self._layout, target, checksum)

    def transfer_syntax_uid(self) -> str:
        """Return Explicit VR Little Endian."""
        return str(ExplicitVRLittleEndian)

    def elements(self) -> Sequence[RawDataElement]:
        """Return the pixel data without a copy, and the module as the decoder left it."""
        content = self._buffer.getvalue()
        if self._layout.bits_allocated == 1:
            samples = np.frombuffer(content, np.uint8, self._frame_bytes * self._layout.frames)
            content = _packed(samples)
        return [*_native(content, self._layout), *_colour(self._instance, _decoded_colour)]


class TranscodedPixels:
    """Frames that the service transcoded, as it stores them; decoded only to verify them."""

    def __init__(self, instance: InstanceMetadata, layout: FrameLayout) -> None:
        self._instance = instance
        self._layout = layout
        self._frames = [b""] * len(instance.frames)
        self._codestreams: dict[int, Codestream] = {}

    def put(self, index: int, frame: bytes, checksum: int | None) -> None:
        """Keep a frame, and compare its pixels with the checksum."""
        target = np.empty(self._layout.shape, self._layout.dtype)
        self._codestreams[index] = decode_frame(frame, self._layout, target, checksum)
        self._frames[index] = frame

    def transfer_syntax_uid(self) -> str:
        """Return HTJ2K Lossless RPCL or JPEG 2000 Lossless, whichever the codestreams are."""
        if not all(one.is_high_throughput for one in self._codestreams.values()):
            return JPEG_2000_LOSSLESS
        return self._instance.stored_transfer_syntax_uid or HTJ2K_LOSSLESS_RPCL

    def elements(self) -> Sequence[RawDataElement]:
        """Return the encapsulated frames, and the module as the codestreams are."""
        is_transformed = all(one.has_colour_transform for one in self._codestreams.values())

        def colour(name: str) -> str:
            decoded = _decoded_colour(name)
            return "YBR_RCT" if is_transformed and decoded == "RGB" else decoded

        return [*_encapsulated(self._frames, has_offsets=True), *_colour(self._instance, colour)]


class KeptPixels:
    """Frames in the transfer syntax that they came to the data store in."""

    def __init__(self, transfer_syntax_uid: str, count: int, *, has_offsets: bool) -> None:
        self._transfer_syntax_uid = transfer_syntax_uid
        self._has_offsets = has_offsets
        self._frames = [b""] * count

    def put(self, index: int, frame: bytes, checksum: int | None) -> None:
        """Keep a frame whose bytes have the checksum."""
        _require_checksum(frame, checksum)
        self._frames[index] = frame

    def transfer_syntax_uid(self) -> str:
        """Return the stored transfer syntax."""
        return self._transfer_syntax_uid

    def elements(self) -> Sequence[RawDataElement]:
        """Return the encapsulated frames; the pixel module describes them already."""
        return _encapsulated(self._frames, has_offsets=self._has_offsets)


class NativePixels:
    """Frames kept uncompressed, as those of binary segmentations are."""

    def __init__(self, instance: InstanceMetadata, layout: FrameLayout) -> None:
        layout.require_native()
        count = len(instance.frames)
        if count not in (1, layout.frames):
            raise FrameUnreadable(
                f"it announces {layout.frames} frames, and the data store has {count}"
            )
        self._instance = instance
        self._layout = layout
        self._bits = layout.frame_bits * (layout.frames if count == 1 else 1)
        self._frames = [b""] * count

    def put(self, index: int, frame: bytes, checksum: int | None) -> None:
        """Keep a frame of the right length whose bytes have the checksum."""
        needed = -(-self._bits // 8)
        if not needed <= len(frame) <= needed + needed % 2:
            raise FrameUnreadable(f"it has {len(frame)} bytes instead of {needed}")
        _require_checksum(frame, checksum)
        self._frames[index] = frame[:needed]

    def transfer_syntax_uid(self) -> str:
        """Return Explicit VR Little Endian."""
        return str(ExplicitVRLittleEndian)

    def elements(self) -> Sequence[RawDataElement]:
        """Return the frames one after the other, bits without a gap (PS3.5 section 8.1.1)."""
        if self._bits % 8 and len(self._frames) > 1:
            bits = [
                np.unpackbits(np.frombuffer(frame, np.uint8), count=self._bits, bitorder="little")
                for frame in self._frames
            ]
            content = _packed(np.concatenate(bits))
        else:
            content = b"".join(self._frames)
        return _native(content, self._layout, self._instance)


def _zeros(size_bytes: int) -> BytesIO:
    """Return an even number of bytes that are written in place and become one value uncopied."""
    buffer = BytesIO()
    buffer.seek(size_bytes + size_bytes % 2 - 1)
    buffer.write(b"\0")
    buffer.getvalue()  # gives back what was allocated beyond the end
    return buffer


def _require_checksum(frame: bytes, checksum: int | None) -> None:
    if checksum is not None and crc32(frame) != checksum:
        raise FrameUnreadable("its checksum (CRC32) is not that of its bytes")


def _packed(samples: npt.NDArray[np.uint8]) -> bytes:
    return np.packbits(samples != 0, bitorder="little").tobytes()


def _native(
    content: bytes, layout: FrameLayout, instance: InstanceMetadata | None = None
) -> list[RawDataElement]:
    content = content + b"\0" if len(content) % 2 else content
    # Floating point pixels are neither signed nor unsigned (PS3.3 C.7.6.24, C.7.6.25).
    if instance is not None and instance.value("PixelRepresentation") is None:
        if layout.bits_allocated == 32:
            return [element(_FLOAT, "OF", content)]
        if layout.bits_allocated == 64:
            return [element(_DOUBLE, "OD", content)]
    return [element(_PIXEL_DATA, "OW" if layout.bits_allocated > 8 else "OB", content)]


def _encapsulated(frames: Sequence[bytes], *, has_offsets: bool) -> list[RawDataElement]:
    """Encapsulate frames, one fragment each (PS3.5 annex A.4)."""
    if sum(map(len, frames)) + 16 * len(frames) > _LARGEST_OFFSET_BYTES:
        content, offsets, lengths = encapsulate_extended(list(frames))
        tables = [
            element(_EXTENDED_OFFSETS, "OV", offsets),
            element(_EXTENDED_LENGTHS, "OV", lengths),
        ]
    else:
        content, tables = encapsulate(list(frames), has_bot=has_offsets), []
    return [*tables, element(_PIXEL_DATA, "OB", content, _UNDEFINED_LENGTH)]


def _decoded_colour(name: str) -> str:
    return _DECODED_COLOUR.get(name, name)


def _colour(instance: InstanceMetadata, colour: Any) -> list[RawDataElement]:
    """Return Planar Configuration and Photometric Interpretation of frames of a JPEG 2000 codec."""
    if instance.value("SamplesPerPixel") in (None, 1):
        return []
    name = str(instance.value("PhotometricInterpretation") or "").strip()
    return [
        element(0x00280004, "CS", encoded(colour(name), "CS")),
        element(0x00280006, "US", encoded(0, "US")),
    ]
