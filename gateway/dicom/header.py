"""The attributes that name and describe an instance, read from the first bytes of its data set."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.dicom.elements import first_values, tolerant_values
from gateway.dicom.text import decoded
from gateway.dicom.uids import is_uid
from gateway.errors import DataSetUnreadable

_SPECIFIC_CHARACTER_SET = 0x00080005
_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_MODALITY = 0x00080060
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_IMAGES_IN_ACQUISITION = 0x00201002
_LONGEST_TEXT = 324
"""Characters kept of any value: a person's name may have three groups of 64 and 108 more."""

STUDY_ATTRIBUTES: Mapping[str, int] = MappingProxyType(
    {
        "study_date": 0x00080020,
        "study_time": 0x00080030,
        "accession_number": 0x00080050,
        "referring_physician_name": 0x00080090,
        "study_description": 0x00081030,
        "patient_name": 0x00100010,
        "patient_id": 0x00100020,
        "issuer_of_patient_id": 0x00100021,
        "patient_birth_date": 0x00100030,
        "patient_sex": 0x00100040,
        "study_id": 0x00200010,
    }
)
"""What the index keeps of a study and its patient: the column, and the attribute's tag."""
SERIES_ATTRIBUTES: Mapping[str, int] = MappingProxyType(
    {
        "series_description": 0x0008103E,
        "body_part_examined": 0x00180015,
        "series_number": 0x00200011,
    }
)
"""What the index keeps of a series beside its UID and modality."""
INSTANCE_ATTRIBUTES: Mapping[str, int] = MappingProxyType({"instance_number": 0x00200013})
"""What the index keeps of an instance beside its UIDs."""

_WANTED = frozenset(
    {
        _SPECIFIC_CHARACTER_SET,
        _SOP_CLASS_UID,
        _SOP_INSTANCE_UID,
        _MODALITY,
        _STUDY_INSTANCE_UID,
        _SERIES_INSTANCE_UID,
        _IMAGES_IN_ACQUISITION,
        *STUDY_ATTRIBUTES.values(),
        *SERIES_ATTRIBUTES.values(),
        *INSTANCE_ATTRIBUTES.values(),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceHeader:
    """What the index must know of an instance before it can be acknowledged."""

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    images_in_acquisition: int | None = None
    """(0020,1002), where the sender says how many instances belong together."""
    study: Mapping[str, str] = field(default_factory=dict)
    """The values of `STUDY_ATTRIBUTES`, by column."""
    series: Mapping[str, str] = field(default_factory=dict)
    """The values of `SERIES_ATTRIBUTES`, by column."""
    instance: Mapping[str, str] = field(default_factory=dict)
    """The values of `INSTANCE_ATTRIBUTES`, by column."""


def read_header(
    data_set: bytes | memoryview,
    transfer_syntax_uid: str,
    *,
    sop_class_uid: str = "",
    sop_instance_uid: str = "",
) -> InstanceHeader:
    """Read the naming attributes of an encoded data set; pixel data is never touched.

    ``data_set`` may be the beginning of a data set only. ``sop_class_uid`` and
    ``sop_instance_uid`` are what the C-STORE command or the file meta information calls the
    instance. They stand in where the data set leaves its own empty, as some de-identification
    tools do: an instance that has a name is not turned away.

    Raises:
        DataSetUnreadable: the bytes are no data set, or one of the UIDs is missing or malformed.
    """
    names = (sop_class_uid, sop_instance_uid)
    read = (first_values, tolerant_values)
    try:
        return _header(read[0](data_set, transfer_syntax_uid, _WANTED, max(_WANTED)), *names)
    except DataSetUnreadable:
        return _header(read[1](data_set, transfer_syntax_uid, _WANTED, max(_WANTED)), *names)


def printable(text: str) -> str:
    """Return text without padding and without what no database column takes."""
    text = text.strip(" \0")
    if text.isprintable():
        return text
    return "".join(character for character in text if character.isprintable()).strip()


def _header(
    values: Mapping[int, bytes], sop_class_uid: str, sop_instance_uid: str
) -> InstanceHeader:
    def plain(tag: int) -> str:
        return printable(values.get(tag, b"").decode("ascii", "replace"))

    text = _text_reader(values, plain(_SPECIFIC_CHARACTER_SET))
    return InstanceHeader(
        sop_instance_uid=_uid(
            plain(_SOP_INSTANCE_UID) or sop_instance_uid, "SOP Instance UID (0008,0018)"
        ),
        sop_class_uid=_uid(plain(_SOP_CLASS_UID) or sop_class_uid, "SOP Class UID (0008,0016)"),
        study_instance_uid=_uid(plain(_STUDY_INSTANCE_UID), "Study Instance UID (0020,000D)"),
        series_instance_uid=_uid(plain(_SERIES_INSTANCE_UID), "Series Instance UID (0020,000E)"),
        modality=plain(_MODALITY)[:16],
        images_in_acquisition=_count(plain(_IMAGES_IN_ACQUISITION)),
        study=_Texts(text, STUDY_ATTRIBUTES),
        series=_Texts(text, SERIES_ATTRIBUTES),
        instance=_Texts(text, INSTANCE_ATTRIBUTES),
    )


class _Texts(Mapping[str, str]):
    """Attributes by column, read when they are asked for: of most instances they never are."""

    def __init__(self, text: Callable[[int], str], tags: Mapping[str, int]) -> None:
        self._text = text
        self._tags = tags

    def __getitem__(self, name: str) -> str:
        return self._text(self._tags[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tags)

    def __len__(self) -> int:
        return len(self._tags)


def _text_reader(values: Mapping[int, bytes], character_set: str) -> Callable[[int], str]:
    """Return a reader of text in the data set's own character set (PS3.5 section 6.1)."""

    def text(tag: int) -> str:
        value = values.get(tag)
        return printable(decoded(value, character_set))[:_LONGEST_TEXT] if value else ""

    return text


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 1_000_000 else None


def _uid(text: str, name: str) -> str:
    if not is_uid(text):
        raise DataSetUnreadable(f"{name} is {'malformed' if text else 'missing'}")
    return text
