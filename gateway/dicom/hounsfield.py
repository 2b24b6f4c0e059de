"""Whether the values of CT images are what a model was trained on (PS3.3 C.8.2.1.1.2)."""

from collections.abc import Collection, Sequence

from gateway.dicom.frames import ImageFrame
from gateway.dicom.reasons import InputReason
from gateway.dicom.stack import shown_by
from gateway.errors import InputRefused

HOUNSFIELD = "HU"
"""Rescale Type (0028,1054) of Hounsfield units; a CT image that names no type is in them."""


def require_rescaled(images: Sequence[ImageFrame]) -> None:
    """Raise InputRefused where CT images do not say how stored values are rescaled."""
    without = [image for image in images if image.rescale_type is None]
    if without:
        raise _refused(
            InputReason.NO_RESCALE,
            f"{len(without)} of {len(images)} CT slices lack Rescale Slope or Rescale Intercept, "
            "so that nothing says which values are Hounsfield units",
            without,
        )


def require_rescale_types(images: Sequence[ImageFrame], types: Collection[str]) -> None:
    """Raise InputRefused where rescaled CT values are of another Rescale Type than these."""
    named_so = {*types, *(("",) if HOUNSFIELD in types else ())}
    others = [image for image in images if image.rescale_type not in (None, *named_so)]
    if others:
        found = " and ".join(sorted({image.rescale_type or HOUNSFIELD for image in others}))
        raise _refused(
            InputReason.RESCALE_TYPE,
            f"the values of {len(others)} of {len(images)} CT slices are of the Rescale Type "
            f"{found}, and the model takes {' or '.join(types)}",
            others,
        )


def _refused(reason: InputReason, detail: str, images: Sequence[ImageFrame]) -> InputRefused:
    planes = [image.plane for image in images]
    instances = list(dict.fromkeys(plane.sop_instance_uid for plane in planes))
    return InputRefused(f"{detail}{shown_by(planes)}", reason=reason, instances=instances)
