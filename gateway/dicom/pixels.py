"""Stored values of an image or of its frames decoded to modality values, as Hounsfield units.

The values are those of the Modality LUT step (PS3.3 C.7.6.16.2.9.1, C.11.1) and of nothing after
it: windows, presentation shapes, the inversion of MONOCHROME1 and real world values are ways of
showing or of naming them, and no model was trained on those.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import UID, JPEG2000TransferSyntaxes

from gateway.dicom.reasons import InputReason
from gateway.errors import InputRefused

# What pydicom and its decoder plugins let through when pixel data cannot be decoded.
_DECODE_ERRORS = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rescale:
    """The linear step from stored to modality values: stored value x slope + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def from_item(cls, dataset: Dataset, item: Dataset) -> Self:
        """Read Rescale Slope and Rescale Intercept, 1 and 0 where they are not given.

        ``item`` is the data set itself, or a frame's Pixel Value Transformation item
        (PS3.3 C.7.6.16.2.9). Raises InputRefused for what is no finite number.
        """
        return cls(
            slope=_number(dataset, item, "RescaleSlope", 1.0),
            intercept=_number(dataset, item, "RescaleIntercept", 0.0),
        )

    def applied(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return modality values, in single precision whatever the stored values are in."""
        values = stored.astype(np.float32)
        if self.slope != 1.0:
            values *= np.float32(self.slope)
        if self.intercept != 0.0:
            values += np.float32(self.intercept)
        return values


def modality_values(dataset: Dataset) -> npt.NDArray[np.float32]:
    """Decode the pixels of a single-frame grayscale image, and apply its own rescale.

    Returns (rows, columns) float32: stored value x Rescale Slope + Rescale Intercept of this
    very instance, since both may differ from slice to slice. Bits above High Bit are not part
    of the stored value and are masked. ``dataset`` carries its file meta information.

    Raises InputRefused for colour, for a modality look-up table, and for pixel data that no
    decoder reads, with the SOP Instance UID and the transfer syntax.
    """
    require_grayscale(dataset)
    rescale = Rescale.from_item(dataset, dataset)
    try:
        stored = _stored_values(dataset)
    except _DECODE_ERRORS as error:
        raise _unreadable(dataset, error) from error
    if stored.ndim != 2:
        raise _refused(
            dataset,
            InputReason.UNREADABLE_PIXELS,
            f"its pixel data has {stored.ndim} dimensions instead of 2",
        )
    return rescale.applied(stored)


def frame_values(
    dataset: Dataset, frames: Sequence[tuple[int, Rescale]]
) -> Iterator[npt.NDArray[np.float32]]:
    """Decode frames of a multi-frame grayscale image, and apply to each its own rescale.

    ``frames`` are numbers, from 1, with what rescales the frame; arrays (rows, columns) come in
    their order, one at a time. Raises InputRefused as `modality_values` does.
    """
    require_grayscale(dataset)
    indices = [number - 1 for number, _ in frames]
    try:
        decoded = _stored_frames(dataset, indices)
        for (_, rescale), stored in zip(frames, decoded, strict=True):
            yield rescale.applied(stored)
    except _DECODE_ERRORS as error:
        raise _unreadable(dataset, error) from error


def require_grayscale(dataset: Dataset) -> None:
    """Raise InputRefused unless the header announces grayscale values with a linear rescale."""
    photometric_interpretation = str(dataset.get("PhotometricInterpretation", ""))
    if dataset.get("SamplesPerPixel", 1) != 1 or not photometric_interpretation.startswith(
        "MONOCHROME"
    ):
        raise _refused(
            dataset, InputReason.COLOUR, "it is a colour image, and models take grayscale"
        )
    if "ModalityLUTSequence" in dataset:
        raise _refused(
            dataset,
            InputReason.MODALITY_LUT,
            "its values are defined by a Modality LUT, and models take rescaled values",
        )


def _stored_values(dataset: Dataset) -> npt.NDArray[Any]:
    """Decode an image by the codec that is preferred, else by any other that reads it."""
    preferred = _preferred_plugin(dataset)
    if preferred:
        with suppress(*_DECODE_ERRORS):
            return pixel_array(dataset, raw=True, decoding_plugin=preferred)
    return pixel_array(dataset, raw=True)


def _stored_frames(dataset: Dataset, indices: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
    """Decode frames as `_stored_values` does; what others must read, they read from there on."""
    left = list(indices)
    preferred = _preferred_plugin(dataset)
    if preferred:
        with suppress(*_DECODE_ERRORS):
            for frame in iter_pixels(dataset, indices=indices, raw=True, decoding_plugin=preferred):
                yield frame
                left.pop(0)
    if left:
        yield from iter_pixels(dataset, indices=left, raw=True)


def _preferred_plugin(dataset: Dataset) -> str:
    """Name pydicom's plugin that decodes in one thread, where the usual one takes several.

    GDCM gives each JPEG 2000 image to as many threads as there are processors, which is a third
    more work than one thread has, and no faster where images are decoded side by side.
    """
    return "pylibjpeg" if dataset.file_meta.TransferSyntaxUID in JPEG2000TransferSyntaxes else ""


def _number(dataset: Dataset, item: Dataset, keyword: str, default: float) -> float:
    reason = InputReason.INVALID_RESCALE
    try:
        value = item.get(keyword)
        number = default if value is None or value == "" else float(value)
    except (TypeError, ValueError) as error:
        raise _refused(dataset, reason, f"its {keyword} is not a number") from error
    if not np.isfinite(number):
        raise _refused(dataset, reason, f"its {keyword} is not a finite number")
    return number


def _unreadable(dataset: Dataset, error: Exception) -> InputRefused:
    syntax = UID(str(getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID", "")))
    return _refused(
        dataset,
        InputReason.UNREADABLE_PIXELS,
        f"its pixel data in {syntax.name or 'an unknown transfer syntax'} ({syntax}) cannot "
        f"be decoded: {type(error).__name__}",
    )


def _refused(dataset: Dataset, reason: InputReason, what: str) -> InputRefused:
    instance = str(dataset.get("SOPInstanceUID", ""))
    detail = f"instance {instance or '(no UID)'} is refused: {what}"
    return InputRefused(detail, reason=reason, instances=[instance])
