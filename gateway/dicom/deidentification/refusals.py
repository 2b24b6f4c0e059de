"""Which instances are not de-identified at all: what they show or say cannot be cleaned."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from pydicom import Dataset
from pydicom import uid as uids

from gateway.dicom.deidentification.values import text_of


class DeidentificationReason(StrEnum):
    """Why an instance is not de-identified."""

    BURNED_IN_ANNOTATION = "burned-in-annotation"  #: Burned In Annotation (0028,0301) is YES
    MAY_BE_BURNED_IN = "may-be-burned-in"  #: such images often show names, and it does not say NO
    EMBEDDED_OVERLAY = "embedded-overlay"  #: an overlay lies in unused bits of the pixels
    STRUCTURED_TEXT = "structured-text"  #: a report, or another tree of text
    ENCAPSULATED_DOCUMENT = "encapsulated-document"  #: a PDF or another document within
    GRAPHICS = "graphics"  #: a presentation state with text and drawings
    OTHER_CLASS = "other-class"  #: neither an image nor of a class that is known to be clean
    UNREADABLE = "unreadable"  #: no data set can be read from it
    NO_STUDY = "no-study"  #: no Study Instance UID says whose it is


SENTENCES: Final = {
    DeidentificationReason.BURNED_IN_ANNOTATION: "the pixels show identifying text",
    DeidentificationReason.MAY_BE_BURNED_IN: (
        "images of this kind often show identifying text, and Burned In Annotation is not NO"
    ),
    DeidentificationReason.EMBEDDED_OVERLAY: "an overlay is embedded in the pixel data",
    DeidentificationReason.STRUCTURED_TEXT: "reports are not cleaned",
    DeidentificationReason.ENCAPSULATED_DOCUMENT: "encapsulated documents are not cleaned",
    DeidentificationReason.GRAPHICS: "graphic annotations are not cleaned",
    DeidentificationReason.OTHER_CLASS: "objects of this class are not cleaned",
    DeidentificationReason.UNREADABLE: "no data set can be read from it",
    DeidentificationReason.NO_STUDY: "nothing says which study it is of",
}

_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_TEXT_CLASSES: Final = f"{_STORAGE}88."
_DOCUMENT_CLASSES: Final = f"{_STORAGE}104."
_PRESENTATION_CLASSES: Final = f"{_STORAGE}11."
_CLEAN_CLASSES: Final = frozenset(
    {
        uids.RTStructureSetStorage,
        uids.SpatialRegistrationStorage,
        uids.DeformableSpatialRegistrationStorage,
        uids.RealWorldValueMappingStorage,
    }
)
"""Objects without pixels that hold numbers and references, beside labels that are cleaned."""
_OFTEN_BURNED_IN: Final = (
    f"{_STORAGE}3.",  # ultrasound multi-frame
    f"{_STORAGE}6.",  # ultrasound
    f"{_STORAGE}7.",  # secondary capture
    f"{_STORAGE}77.1.",  # visible light: endoscopes, microscopes, cameras, videos
)
_SCREEN_WORDS: Final = frozenset(
    {
        *("CAPTURE", "DOSE", "DOSEINFO", "LABEL", "PROT", "PROTOCOL", "REPORT", "RESULT"),
        *("RESULTS", "SCREEN", "SCREENSAVE", "SCREENSHOT", "SNAPSHOT", "SUMMARY", "TABLE", "TEXT"),
    }
)
"""Words of Image Type (0008,0008) of images that are pictures of a screen or a page."""
_FROM_ELSEWHERE: Final = frozenset({"DF", "DRW", "DV", "SD", "SI", "WSD"})
"""Conversion Types (0008,0064) of images that come from film, paper, video or a workstation."""


def refusal(dataset: Dataset) -> DeidentificationReason | None:
    """Return why an instance is not de-identified, or nothing where it may be."""
    return next(_refusals(dataset), None)


def _refusals(dataset: Dataset) -> Iterator[DeidentificationReason]:
    sop_class_uid = _text(dataset, "SOPClassUID")
    if sop_class_uid.startswith(_TEXT_CLASSES):
        yield DeidentificationReason.STRUCTURED_TEXT
    if sop_class_uid.startswith(_DOCUMENT_CLASSES):
        yield DeidentificationReason.ENCAPSULATED_DOCUMENT
    if sop_class_uid.startswith(_PRESENTATION_CLASSES):
        yield DeidentificationReason.GRAPHICS
    if not _is_of_known_class(dataset, sop_class_uid):
        yield DeidentificationReason.OTHER_CLASS
    burned_in = _text(dataset, "BurnedInAnnotation").upper()
    if burned_in == "YES":
        yield DeidentificationReason.BURNED_IN_ANNOTATION
    if burned_in != "NO" and _is_often_burned_in(dataset, sop_class_uid):
        yield DeidentificationReason.MAY_BE_BURNED_IN
    if _has_embedded_overlay(dataset):
        yield DeidentificationReason.EMBEDDED_OVERLAY
    if not _text(dataset, "StudyInstanceUID"):
        yield DeidentificationReason.NO_STUDY


def _is_of_known_class(dataset: Dataset, sop_class_uid: str) -> bool:
    if sop_class_uid in _CLEAN_CLASSES:
        return True
    return sop_class_uid.startswith(_STORAGE) and any(tag in dataset for tag in _PIXELS)


def _is_often_burned_in(dataset: Dataset, sop_class_uid: str) -> bool:
    words = set(re.split(r"[\\ _/-]+", _text(dataset, "ImageType").upper()))
    return (
        f"{sop_class_uid}.".startswith(_OFTEN_BURNED_IN)
        or not words.isdisjoint(_SCREEN_WORDS)
        or _text(dataset, "ConversionType").upper() in _FROM_ELSEWHERE
    )


def _has_embedded_overlay(dataset: Dataset) -> bool:
    """Tell whether an overlay has a place in the pixels and no data of its own (PS3.3 C.9.2)."""
    return any(
        (group << 16 | 0x0102) in dataset and (group << 16 | 0x3000) not in dataset
        for group in range(0x6000, 0x6020, 2)
    )


def _text(dataset: Dataset, keyword: str) -> str:
    element = dataset.get_item(keyword) if keyword in dataset else None
    return "" if element is None else text_of(dataset, int(element.tag), "")
