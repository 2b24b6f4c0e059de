"""The values of elements as they stand in a data set, read without pydicom's conversion.

A value that breaks its VR must neither stop a de-identification nor slip through it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom import config as pydicom_config
from pydicom.datadict import dictionary_keyword, dictionary_VR
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as ItemSequence

from gateway.dicom.deidentification.treatments import Treatment, treatment_of
from gateway.dicom.text import decoded

SPECIFIC_CHARACTER_SET = 0x00080005


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """An element that the data dictionary knows, and what becomes of it."""

    tag: int
    vr: str
    keyword: str
    treatment: Treatment


def named(tag: int) -> Named | None:
    """Return what is known of an attribute, or nothing where the data dictionary has it not."""
    try:
        vr, keyword = dictionary_VR(tag), dictionary_keyword(tag)
    except KeyError:
        return None
    return Named(tag=tag, vr=vr, keyword=keyword, treatment=treatment_of(tag, vr, keyword))


def has_other_vr(dataset: Dataset, known: Named) -> bool:
    """Tell whether an element's file calls its value another one than the dictionary does."""
    vr = dataset.get_item(known.tag).VR
    return vr is not None and vr not in known.vr.split(" or ")


def is_sequence_for_one_only(dataset: Dataset, known: Named) -> bool:
    """Tell whether the file and the dictionary differ in whether an element is a sequence.

    What such an element holds is not walked through, so that nobody knows what it says.
    """
    vr = dataset.get_item(known.tag).VR
    if known.vr != "SQ":
        return vr == "SQ"
    return vr not in ("SQ", "UN", None) or not isinstance(dataset[known.tag].value, ItemSequence)


def items(dataset: Dataset, tag: int) -> list[Dataset]:
    """Return the items of a sequence; none where the element is no sequence after all."""
    value = dataset[tag].value
    return list(value) if isinstance(value, ItemSequence) else []


def text_of(dataset: Dataset, tag: int, character_set: str) -> str:
    """Return an element's text, its values parted by backslashes, without padding."""
    value = dataset.get_item(tag).value
    if isinstance(value, bytes):
        return decoded(value, character_set).strip(" \0")
    if isinstance(value, MultiValue | list):
        return "\\".join(map(str, value))
    return "" if value is None else str(value).strip(" \0")


def character_set_of(dataset: Dataset, inherited: str = "") -> str:
    """Return what Specific Character Set (0008,0005) declares, as the file writes it."""
    if SPECIFIC_CHARACTER_SET not in dataset:
        return inherited
    return text_of(dataset, SPECIFIC_CHARACTER_SET, "")


def write_text(dataset: Dataset, tag: int, vr: str, text: str) -> None:
    """Give an element another value; pydicom need not find it valid."""
    dataset[tag] = DataElement(tag, vr, text, validation_mode=pydicom_config.IGNORE)


def walk(dataset: Dataset, inherited: str = "") -> Iterator[tuple[Dataset, int, str]]:
    """Give every element that the dictionary knows, at any depth, with its character set."""
    character_set = character_set_of(dataset, inherited)
    for tag in list(map(int, dataset.keys())):
        known = named(tag)
        if known is None:
            continue
        if known.vr == "SQ":
            for item in items(dataset, tag):
                yield from walk(item, character_set)
        else:
            yield dataset, tag, character_set
