"""What rules may look at in one series: its instances' attributes and what the node knows."""

import struct
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag

from gateway.dicom.planes import orientation
from gateway.rules.checks import Values
from gateway.rules.subjects import IMAGE_ORIENTATION_PATIENT, Subject
from gateway.rules.values import Value

Column = Mapping[Values, int]
"""The values of a subject, by instance, with the number of instances that have them."""

_BINARY_FORMATS: Final = {
    "FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q",
    "US or SS": "H",
}  # fmt: skip
_NUMBERS: Final[Mapping[str, Callable[[str], float]]] = {"DS": float, "IS": int}
_ESCAPE: Final = b"\x1b"  # begins another character set (PS3.5 6.1.2.5)
_ONE_TEXT: Final = frozenset({"LT", "ST", "UT", "UR"})
_IN_ANY_CHARACTERS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_BULK: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "OB or OW", "UN", "US or OW"})


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesFacts:
    """A series as rules see it.

    ``instances`` holds, for each instance, the values of its attributes by tag: an absent tag
    is an absent attribute, an empty tuple one without a value. Names of the node's facts that
    are not known are empty. ``transfer_syntaxes`` has one UID for each instance, or none.
    """

    instances: Sequence[Mapping[int, Values]]
    calling_ae: str = ""
    called_ae: str = ""
    source: str = ""
    transfer_syntaxes: Sequence[str] = ()

    @classmethod
    def from_datasets(
        cls,
        datasets: Iterable[Dataset],
        *,
        calling_ae: str = "",
        called_ae: str = "",
        source: str = "",
        transfer_syntaxes: Sequence[str] = (),
        tags: Collection[int] | None = None,
    ) -> Self:
        """Facts out of pydicom data sets; of each, only ``tags`` where these are given.

        Values that break the rules of their VR are kept as they are and never raise.
        """
        return cls(
            instances=tuple(attributes(dataset, tags) for dataset in datasets),
            calling_ae=calling_ae,
            called_ae=called_ae,
            source=source,
            transfer_syntaxes=tuple(transfer_syntaxes),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The values of a series by subject, counted once for all rules that ask for them."""

    facts: SeriesFacts
    _counted: dict[str, Column] = field(default_factory=dict)

    def __getitem__(self, subject: Subject) -> Column:
        if subject.name not in self._counted:
            self._counted[subject.name] = Counter(self._values(subject))
        return self._counted[subject.name]

    def _values(self, subject: Subject) -> Iterator[Values]:
        facts = self.facts
        if subject.tag is not None:
            yield from (_filled(one.get(subject.tag, ())) for one in facts.instances)
            return
        match subject.name:
            case "instances":
                yield (len(facts.instances),)
            case "orientation":
                directions = Counter(
                    tuple(one.get(IMAGE_ORIENTATION_PATIENT, ())) for one in facts.instances
                )
                for direction, count in directions.items():
                    yield from (_orientation(direction),) * count
            case "transfer_syntax":
                yield from (_filled((uid,)) for uid in facts.transfer_syntaxes)
            case "calling_ae":
                yield _filled((facts.calling_ae,))
            case "called_ae":
                yield _filled((facts.called_ae,))
            case _:
                yield _filled((facts.source,))


def _filled(values: Values) -> Values:
    return tuple(values) if any(value != "" for value in values) else ()


def _orientation(direction: Values) -> Values:
    try:
        return (orientation([float(cosine) for cosine in direction]).value,)
    except ValueError:  # not six numbers, or they span no plane
        return ()


def attributes(dataset: Dataset, tags: Collection[int] | None = None) -> dict[int, Values]:
    """Plain values of a data set's attributes by tag, bulk data and private ones left out.

    A sequence has one value that stands for its items.
    """
    wanted = dataset.keys() if tags is None else [BaseTag(tag) for tag in tags if tag in dataset]
    found = {
        int(tag): _plain(dataset, dataset.get_item(tag)) for tag in wanted if not tag.is_private
    }
    return {tag: values for tag, values in found.items() if values is not None}


def _plain(dataset: Dataset, element: DataElement | RawDataElement | None) -> Values | None:
    if isinstance(element, RawDataElement):
        return _decoded(dataset, element)
    if element is None or element.VR in _BULK:
        return None
    value = element.value
    if isinstance(value, DicomSequence):
        return (1,) if value else ()
    several = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
    return _filled(tuple(_plain_value(one) for one in several if one is not None))


def _plain_value(value: Any) -> Value:
    match value:
        case int():
            return int(value)
        case float():
            return float(value)
        case _:
            return str(value).strip(" \0")


def _decoded(dataset: Dataset, element: RawDataElement) -> Values | None:
    """Values of an element that pydicom has not converted yet, read without its checks."""
    vr = element.VR
    if vr in (None, "UN") and dictionary_has_tag(element.tag):
        vr = dictionary_VR(element.tag)
    content = element.value or b""
    if vr is None or vr in _BULK or not isinstance(content, bytes):
        return None
    if vr == "SQ":
        return (1,) if content else ()
    if code := _BINARY_FORMATS.get(vr):
        return _unpacked(code, content, element.is_little_endian)
    text = _text(dataset, vr, content)
    parts = [text] if vr in _ONE_TEXT else text.split("\\")
    return _filled(tuple(_number_or_text(vr, part.strip(" \0")) for part in parts))


def _number_or_text(vr: str, text: str) -> Value:
    try:
        return _NUMBERS[vr](text) if vr in _NUMBERS else text
    except ValueError:
        return text


def _unpacked(code: str, content: bytes, is_little_endian: bool) -> Values:
    order = "<" if is_little_endian else ">"
    count = len(content) // struct.calcsize(f"{order}{code}")
    return struct.unpack_from(f"{order}{count}{code}", content)


def _text(dataset: Dataset, vr: str, content: bytes) -> str:
    if content.isascii() and _ESCAPE not in content:
        return content.decode("ascii")
    if vr not in _IN_ANY_CHARACTERS:
        return content.decode("latin-1")
    with warnings.catch_warnings():
        # What pydicom warns of, unknown character sets and bytes outside them, it replaces.
        warnings.simplefilter("ignore")
        declared = dataset.get("SpecificCharacterSet")
        several = isinstance(declared, MultiValue | list)
        names = [str(name) for name in declared] if several else str(declared or "")
        delimiters = {ord(character) for character in "\\\r\n\t\f^="}
        return decode_bytes(content, convert_encodings(names), delimiters)
