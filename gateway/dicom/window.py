"""The window that an image asks to be shown with (PS3.3 C.11.2)."""

from typing import Any

from pydicom import Dataset

from gateway.dicom.frames import functional_group


def shown_range(dataset: Dataset, frame_number: int | None = None) -> tuple[float, float] | None:
    """Return the modality values that an image shows black and white by its first window.

    ``frame_number``, from 1, is of an object of many frames. Without a window, None.
    """
    item = dataset
    if frame_number is not None:
        item = functional_group(dataset, frame_number, "FrameVOILUTSequence") or dataset
    try:
        centre, width = (_first(item.get(word)) for word in ("WindowCenter", "WindowWidth"))
    except (TypeError, ValueError, IndexError):
        return None
    return (centre - width / 2, centre + width / 2) if width > 0 else None


def _first(value: Any) -> float:
    """Return the first of one or several numbers; raises TypeError for none."""
    return float(value if not hasattr(value, "__getitem__") else value[0])
