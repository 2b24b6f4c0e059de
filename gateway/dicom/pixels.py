"""Stored values of one image decoded to modality values, such as Hounsfield units.

The values are those of the Modality LUT step (PS3.3 C.7.6.16.2.9.1, C.11.1) and of nothing after
it: windows, presentation shapes, the inversion of MONOCHROME1 and real world values are ways of
showing or of naming them, and no model was trained on those.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

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


def modality_values(dataset: Dataset) -> npt.NDArray[np.float32]:
    """Decode the pixels of a single-frame grayscale image, and apply its own rescale.

    Returns (rows, columns) float32: stored value x Rescale Slope + Rescale Intercept of this
    very instance, since both may differ from slice to slice. Bits above High Bit are not part
    of the stored value and are masked. ``dataset`` carries its file meta information.

    Raises InputRefused for colour, for a modality look-up table, and for pixel data that no
    decoder reads, with the SOP Instance UID and the transfer syntax.
    """
    _require_grayscale(dataset)
    slope, intercept = (
        _rescale(dataset, "RescaleSlope", 1.0),
        _rescale(dataset, "RescaleIntercept", 0.0),
    )
    values = _stored_values(dataset).astype(np.float32)
    if values.ndim != 2:
        raise _refused(dataset, f"its pixel data has {values.ndim} dimensions instead of 2")
    if slope != 1.0:
        values *= np.float32(slope)
    if intercept != 0.0:
        values += np.float32(intercept)
    return values


def _require_grayscale(dataset: Dataset) -> None:
    photometric_interpretation = str(dataset.get("PhotometricInterpretation", ""))
    if dataset.get("SamplesPerPixel", 1) != 1 or not photometric_interpretation.startswith(
        "MONOCHROME"
    ):
        raise _refused(dataset, "it is a colour image, and models take grayscale")
    if "ModalityLUTSequence" in dataset:
        raise _refused(
            dataset, "its values are defined by a Modality LUT, and models take rescaled values"
        )


def _rescale(dataset: Dataset, keyword: str, default: float) -> float:
    try:
        value = dataset.get(keyword)
        number = default if value is None or value == "" else float(value)
    except (TypeError, ValueError) as error:
        raise _refused(dataset, f"its {keyword} is not a number") from error
    if not np.isfinite(number):
        raise _refused(dataset, f"its {keyword} is not a finite number")
    return number


def _stored_values(dataset: Dataset) -> npt.NDArray[Any]:
    try:
        values: npt.NDArray[Any] = pixel_array(dataset, raw=True)
    except _DECODE_ERRORS as error:
        syntax = UID(str(getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID", "")))
        raise _refused(
            dataset,
            f"its pixel data in {syntax.name or 'an unknown transfer syntax'} ({syntax}) cannot "
            f"be decoded: {type(error).__name__}",
        ) from error
    return values


def _refused(dataset: Dataset, what: str) -> InputRefused:
    return InputRefused(f"instance {dataset.get('SOPInstanceUID', '(no UID)')} is refused: {what}")
