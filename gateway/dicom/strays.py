"""Objects that lie in a series of slices and are none of its slices."""

from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

_CROSS_SECTIONAL = frozenset(
    {
        CTImageStorage,
        MRImageStorage,
        PositronEmissionTomographyImageStorage,
        EnhancedCTImageStorage,
        EnhancedMRImageStorage,
        EnhancedPETImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
        LegacyConvertedEnhancedPETImageStorage,
    }
)


class DroppedAs(StrEnum):
    """Why an instance or a frame is left out of the volume of its series."""

    OTHER_OBJECT = "other-object"  #: a report, a capture of the screen: no CT, MR or PET image
    LOCALIZER = "localizer"  #: an image that others were planned on
    REPEATED = "repeated"  #: the same image again, under the same SOP Instance UID
    SMALLER_STACK = "smaller-stack"  #: the descriptor takes the largest stack of slices only


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """An instance that was left out, with the reason; some of its frames may be in use."""

    sop_instance_uid: str
    dropped_as: DroppedAs


def is_cross_sectional(dataset: Dataset) -> bool:
    """Tell whether an object is of a class of CT, MR or PET images, of one frame or of many."""
    return UID(str(dataset.get("SOPClassUID", ""))) in _CROSS_SECTIONAL
