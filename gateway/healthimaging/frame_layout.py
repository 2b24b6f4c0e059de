"""How the samples of an instance's frames lie in native pixel data (PS3.5 section 8.2)."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gateway.errors import FrameUnreadable
from gateway.healthimaging.metadata import InstanceMetadata

_LARGEST_BYTES = 0xFFFFFFFE


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameLayout:
    """Rows, columns and samples of each frame, and bits of each sample, as the pixel module says.

    Samples of a pixel lie side by side (Planar Configuration 0).
    """

    frames: int
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    is_signed: bool

    @classmethod
    def from_metadata(cls, instance: InstanceMetadata) -> Self:
        """Read the pixel module.

        Raises:
            FrameUnreadable: it does not say how large a frame is.
        """
        return cls(
            frames=_number(instance, "NumberOfFrames", 1),
            rows=_number(instance, "Rows"),
            columns=_number(instance, "Columns"),
            samples=_number(instance, "SamplesPerPixel", 1),
            bits_allocated=_number(instance, "BitsAllocated"),
            is_signed=instance.value("PixelRepresentation") == 1,
        )

    @property
    def frame_bits(self) -> int:
        """Bits of one frame."""
        return self.rows * self.columns * self.samples * self.bits_allocated

    @property
    def size_bytes(self) -> int:
        """Bytes of all frames, padded to an even number."""
        size = -(-self.frame_bits * self.frames // 8)
        return size + size % 2

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame's array: rows, columns, and samples where there are several."""
        plane = (self.rows, self.columns)
        return plane if self.samples == 1 else (*plane, self.samples)

    @property
    def dtype(self) -> npt.DTypeLike:
        """Type of a sample in whole bytes, little endian.

        Raises:
            FrameUnreadable: Bits Allocated is not 1, 8, 16 or 32.
        """
        if self.bits_allocated not in (1, 8, 16, 32):
            raise FrameUnreadable(f"samples of {self.bits_allocated} bits are not decoded")
        kind = "i" if self.is_signed and self.bits_allocated > 1 else "u"
        return np.dtype(f"<{kind}{max(self.bits_allocated // 8, 1)}")

    def require_native(self) -> None:
        """Raise FrameUnreadable where the frames are too many bytes for one element."""
        if self.size_bytes > _LARGEST_BYTES:
            raise FrameUnreadable(
                f"its {self.frames} frames have {self.size_bytes} bytes decoded, more than an "
                "element holds; ask for them as they are stored"
            )


def _number(instance: InstanceMetadata, keyword: str, default: int | None = None) -> int:
    value: Any = instance.value(keyword)
    if type(value) is int and value > 0:
        return value
    if value in (None, "") and default is not None:
        return default
    try:
        number = int(str(value).strip())
    except ValueError:
        number = 0
    if number <= 0:
        raise FrameUnreadable(f"its {keyword} is no number of 1 or more")
    return number
