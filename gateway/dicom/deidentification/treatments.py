"""What becomes of each attribute: PS3.15 table E.1-1 with the options that are in force."""

import csv
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from pydicom.datadict import dictionary_VR

_TEMPORAL: Final = frozenset({"DA", "DT"})
_DESCRIPTIVE: Final = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
_NUMERIC: Final = frozenset(
    {"AT", "DS", "FD", "FL", "IS", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "US", "UV"}
)
_ACQUISITION_CONTEXT_SEQUENCE: Final = 0x00400555
"""Of the sequences that may go, the one that must be there in some objects, and may be empty."""
_GRAPHIC_GROUPS: Final = range(0x5000, 0x5020), range(0x6000, 0x6020)
"""Curves and overlays, which repeat over the even ones of these groups (PS3.5 section 7.6)."""


class Treatment(StrEnum):
    """What is done with an attribute."""

    KEEP = "keep"
    """It stays, unless its value names somebody or is not what its VR allows."""
    MAP = "map"
    """Each UID is replaced by its pseudonym."""
    SHIFT = "shift"
    """Each date moves by the days of its patient; the time of the day stays."""
    WORDS = "words"
    """Only words of the vocabulary stay."""
    ITEMS = "items"
    """The items of a sequence are treated, each as a data set."""
    EMPTY = "empty"
    """The attribute stays without a value."""
    DUMMY = "dummy"
    """The value is replaced by one that says nothing."""
    REMOVE = "remove"
    """The attribute goes."""


_PROFILE: Final[Mapping[str, Treatment]] = MappingProxyType(
    {
        "X": Treatment.REMOVE,
        "Z": Treatment.EMPTY,
        "D": Treatment.DUMMY,
        "U": Treatment.MAP,
        # Where the standard leaves the choice to the type of the attribute, what suits each type.
        "X/Z": Treatment.EMPTY,
        "X/D": Treatment.DUMMY,
        "Z/D": Treatment.DUMMY,
        "X/Z/D": Treatment.DUMMY,
        "X/Z/U*": Treatment.ITEMS,
    }
)
_EQUIPMENT: Final = frozenset(
    {
        "AcquisitionDeviceProcessingCode",
        "AlgorithmName",
        "AlgorithmVersion",
        "ApplicationName",
        "ApplicationVersion",
        "AttenuationCorrectionMethod",
        "CodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeVersion",
        "CollimatorGridName",
        "ConvolutionKernel",
        "DetectorManufacturerName",
        "DetectorManufacturerModelName",
        "DeviceID",
        "DimensionDescriptionLabel",
        "FilterType",
        "GridID",
        "ImagedNucleus",
        "LongCodeValue",
        "Manufacturer",
        "ManufacturerModelName",
        "ModalityLUTType",
        "MultiCoilElementName",
        "PulseSequenceName",
        "Radiopharmaceutical",
        "RadiopharmaceuticalRoute",
        "RadiationMachineName",
        "ReceiveCoilManufacturerName",
        "ReceiveCoilName",
        "ReconstructionMethod",
        "RescaleType",
        "ScatterCorrectionMethod",
        "SecondaryCaptureDeviceManufacturer",
        "SecondaryCaptureDeviceManufacturerModelName",
        "SecondaryCaptureDeviceSoftwareVersions",
        "SequenceName",
        "SoftwareVersions",
        "StackID",
        "TransmitCoilManufacturerName",
        "TransmitCoilName",
        "URNCodeValue",
    }
)
"""Text that equipment writes, or that is a code: it stays whole, unless it names somebody."""
_BINARY: Final = frozenset({"ICCProfile", "PixelData", "WaveformPaddingValue"})
"""Bytes that no VR describes and that are no text: the image itself, and its colours."""


def treatment_of(tag: int, vr: str, keyword: str) -> Treatment:
    """Return what becomes of an attribute of the data dictionary, at any depth of a data set.

    What the table does not name stays by the profile. Here it stays where its kind of value can
    be shown to hold nothing of a person: text does so word by word.
    """
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2 or element == 0 or any(group in groups for groups in _GRAPHIC_GROUPS):
        return Treatment.REMOVE
    return _table().get(tag) or _by_value(vr, keyword)


def _by_value(vr: str, keyword: str) -> Treatment:
    """Return what becomes of an attribute that the table does not name."""
    if keyword in _EQUIPMENT or keyword in _BINARY:
        return Treatment.KEEP
    if vr in _DESCRIPTIVE:
        return Treatment.WORDS
    if vr in _TEMPORAL:
        return Treatment.SHIFT
    by_vr = {"SQ": Treatment.ITEMS, "UI": Treatment.MAP, "PN": Treatment.EMPTY}
    # A VR may be one of several, as in "US or SS".
    is_kept = vr in ("AS", "CS", "TM") or _NUMERIC.issuperset(vr.split(" or "))
    return by_vr.get(vr, Treatment.KEEP if is_kept else Treatment.REMOVE)


@cache
def _table() -> Mapping[int, Treatment]:
    text = files("gateway.dicom.deidentification").joinpath("table_e1_1.tsv").read_text("utf-8")
    rows = csv.reader(
        (line for line in text.splitlines() if not line.startswith("#")), delimiter="\t"
    )
    return MappingProxyType({int(row[0], 16): _by_row(int(row[0], 16), row[2:]) for row in rows})


def _by_row(tag: int, codes: list[str]) -> Treatment:
    profile, device, dates, descriptors = codes
    vr = _vr(tag)
    if dates == "C" and vr in _TEMPORAL:
        return Treatment.SHIFT
    if device == "K" or (dates == "C" and vr in ("TM", "SH")):
        return Treatment.KEEP if vr != "SQ" else Treatment.ITEMS
    if descriptors == "C" and vr in _DESCRIPTIVE:
        return Treatment.WORDS
    if vr == "UI" and profile == "D":
        return Treatment.MAP
    if vr == "SQ" and profile.startswith("X/") and profile != "X/Z/U*":
        return Treatment.EMPTY if tag == _ACQUISITION_CONTEXT_SEQUENCE else Treatment.REMOVE
    return _PROFILE[profile]


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"
