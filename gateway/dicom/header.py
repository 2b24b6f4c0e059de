"""The few attributes that name an instance, read from the first bytes of its data set."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from gateway.dicom.uids import is_uid
from gateway.errors import DataSetUnreadable

_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_MODALITY = 0x00080060
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_INFLATED_LIMIT_BYTES = 1 << 20
# What pydicom lets through when bytes are no data set.
_PARSE_ERRORS = (
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceHeader:
    """What the index must know of an instance before it can be acknowledged."""

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str


def read_header(
    data_set: bytes,
    transfer_syntax_uid: str,
    *,
    sop_class_uid: str = "",
    sop_instance_uid: str = "",
) -> InstanceHeader:
    """Read the naming attributes of an encoded data set; pixel data is never touched.

    ``sop_class_uid`` and ``sop_instance_uid`` are what the C-STORE command or the file meta
    information calls the instance. They stand in where the data set leaves its own empty, as
    some de-identification tools do: an instance that has a name is not turned away.

    Raises:
        DataSetUnreadable: the bytes are no data set, or one of the UIDs is missing or malformed.
    """
    elements = _first_elements(data_set, transfer_syntax_uid)
    text = _text_reader(elements)
    return InstanceHeader(
        sop_instance_uid=_uid(
            text(_SOP_INSTANCE_UID) or sop_instance_uid, "SOP Instance UID (0008,0018)"
        ),
        sop_class_uid=_uid(text(_SOP_CLASS_UID) or sop_class_uid, "SOP Class UID (0008,0016)"),
        study_instance_uid=_uid(text(_STUDY_INSTANCE_UID), "Study Instance UID (0020,000D)"),
        series_instance_uid=_uid(text(_SERIES_INSTANCE_UID), "Series Instance UID (0020,000E)"),
        modality=text(_MODALITY)[:16],
    )


def printable(text: str) -> str:
    """Return text without padding and without what no database column takes."""
    return "".join(character for character in text if character.isprintable()).strip()


def _first_elements(data_set: bytes, transfer_syntax_uid: str) -> Dataset:
    try:
        if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            data_set = zlib.decompressobj(-zlib.MAX_WBITS).decompress(
                data_set, _INFLATED_LIMIT_BYTES
            )
        return read_dataset(
            BytesIO(data_set),
            is_implicit_VR=transfer_syntax_uid == ImplicitVRLittleEndian,
            is_little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
            stop_when=_is_past_series_instance_uid,
        )
    except _PARSE_ERRORS as error:
        raise DataSetUnreadable(f"the bytes are no data set ({type(error).__name__})") from error


def _is_past_series_instance_uid(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001
    return int(tag) > _SERIES_INSTANCE_UID


def _text_reader(elements: Dataset) -> Callable[[int], str]:
    """Return a reader of raw values, which are plain ASCII for every attribute read here."""

    def text(tag: int) -> str:
        value = elements.get_item(tag).value if tag in elements else b""
        raw = value if isinstance(value, bytes) else str(value or "").encode()
        return printable(raw.decode("ascii", "replace"))

    return text


def _uid(text: str, name: str) -> str:
    if not is_uid(text):
        raise DataSetUnreadable(f"{name} is {'malformed' if text else 'missing'}")
    return text
