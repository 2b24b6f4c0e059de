"""The header of a JPEG 2000 or High-Throughput JPEG 2000 codestream (ISO/IEC 15444-1, -15)."""

import struct
from dataclasses import dataclass

from gateway.errors import FrameUnreadable

_SOC_SIZ = b"\xff\x4f\xff\x51"
_CAP, _COD, _SOT = 0xFF50, 0xFF52, 0xFF90
_SIZE = struct.Struct(">HHIIIIIIIIHB")
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "


@dataclass(frozen=True, kw_only=True, slots=True)
class Codestream:
    """What a codestream says of the image that it holds."""

    width: int
    height: int
    components: int
    bits: int
    """Bits of a sample of the first component."""
    is_signed: bool
    is_high_throughput: bool
    has_colour_transform: bool
    """Whether a reversible or irreversible colour transform was applied to the components."""


def read_codestream(frame: bytes) -> Codestream:
    """Read the main header of a codestream, in a JP2 file or not.

    Raises:
        FrameUnreadable: the bytes are no codestream.
    """
    start = frame.find(_SOC_SIZ, 0, 1 << 16) if frame.startswith(_JP2_SIGNATURE) else 0
    if start < 0 or frame[start : start + 4] != _SOC_SIZ:
        raise FrameUnreadable("it is no JPEG 2000 codestream")
    try:
        return _read(frame, start + 4)
    except struct.error as error:
        raise FrameUnreadable("its JPEG 2000 header ends too early") from error


def _read(frame: bytes, place: int) -> Codestream:
    length, _, x, y, x0, y0, _, _, _, _, components, depth = _SIZE.unpack_from(frame, place)
    is_high_throughput = has_colour_transform = False
    place += length
    while True:
        marker, length = struct.unpack_from(">HH", frame, place)
        if marker == _SOT:
            break
        is_high_throughput |= marker == _CAP
        if marker == _COD:
            (transform,) = struct.unpack_from(">B", frame, place + 8)
            has_colour_transform = bool(transform)
        place += 2 + length
    return Codestream(
        width=x - x0,
        height=y - y0,
        components=components,
        bits=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
        is_high_throughput=is_high_throughput,
        has_colour_transform=has_colour_transform,
    )
