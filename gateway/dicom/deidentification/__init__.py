"""De-identification of instances by PS3.15 annex E, and the way back for what is made of them."""

from gateway.dicom.deidentification.deidentified_instance import (
    DeidentifiedInstance,
    KeptInstance,
    deidentified,
)
from gateway.dicom.deidentification.originals import Original, OriginalKind
from gateway.dicom.deidentification.pseudonyms import KEY_BYTES, Pseudonyms
from gateway.dicom.deidentification.refusals import DeidentificationReason
from gateway.dicom.deidentification.reidentified_instance import ReidentifiedInstance, reidentified

ChangedInstance = DeidentifiedInstance | ReidentifiedInstance
"""An instance in the form in which it leaves."""

__all__ = [
    "KEY_BYTES",
    "ChangedInstance",
    "DeidentificationReason",
    "DeidentifiedInstance",
    "KeptInstance",
    "Original",
    "OriginalKind",
    "Pseudonyms",
    "ReidentifiedInstance",
    "deidentified",
    "reidentified",
]
