"""De-identification of instances by PS3.15 annex E, and the way back for what is made of them."""

from gateway.dicom.deidentification.deidentified_instance import (
    DeidentifiedInstance,
    KeptInstance,
    deidentified,
)
from gateway.dicom.deidentification.originals import Original, OriginalKind
from gateway.dicom.deidentification.pseudonyms import KEY_BYTES, Pseudonyms
from gateway.dicom.deidentification.refusals import DeidentificationReason

__all__ = [
    "KEY_BYTES",
    "DeidentificationReason",
    "DeidentifiedInstance",
    "KeptInstance",
    "Original",
    "OriginalKind",
    "Pseudonyms",
    "deidentified",
]
