"""No real instance that is de-identified still says whose it is."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset
from pydicom.multival import MultiValue

from gateway.dicom.data_set import read_data_set
from gateway.dicom.deidentification import (
    DeidentificationReason,
    DeidentifiedInstance,
    KeptInstance,
    Pseudonyms,
    deidentified,
)
from gateway.dicom.uids import DICOM_ROOT
from gateway.errors import DeidentificationRefused
from tests.peers.corpus import Corpus
from tests.unit.dicom.deidentification.instances import kept_files

pytestmark = [
    pytest.mark.corpus,
    # What pydicom says of the values of some of these files.
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
IDENTIFYING = {
    *("AccessionNumber", "InstitutionAddress", "InstitutionName", "InstitutionalDepartmentName"),
    *("IssuerOfPatientID", "OtherPatientIDs", "PatientAddress", "PatientBirthDate", "PatientID"),
    *("PerformedProcedureStepID", "RequestedProcedureID", "ScheduledProcedureStepID", "StudyID"),
}
DUMMY = "removed"
PIXEL_DATA = 0x7FE00010
Pair = tuple[Path, KeptInstance, DeidentifiedInstance]


@pytest.fixture(scope="module")
def results(corpus: Corpus) -> tuple[list[Pair], list[DeidentificationRefused]]:
    """All of the corpus that is de-identified, and why the rest is not."""
    pseudonyms, done, refused = Pseudonyms(bytes(32)), [], []
    for path, kept in kept_files(corpus.root):
        try:
            done.append((path, kept, deidentified(kept, pseudonyms, date(2026, 1, 1))))
        except DeidentificationRefused as error:
            refused.append(error)
    return done, refused


@pytest.fixture(scope="module")
def pairs(results: tuple[list[Pair], list[DeidentificationRefused]]) -> list[Pair]:
    return results[0]


def elements(dataset: Dataset) -> Iterator[DataElement]:
    """Give all elements at any depth but private ones and pixel data."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)
        elif not element.tag.is_private and element.tag < PIXEL_DATA:
            yield element


def values(element: DataElement) -> list[str]:
    many = element.value if isinstance(element.value, MultiValue) else [element.value]
    return [str(one).strip() for one in many if one is not None]


def identifiers(dataset: Dataset) -> set[str]:
    """Return what names somebody: names by their parts, ids, places, days, and UIDs."""
    found: set[str] = set()
    coincidences: set[str] = set()
    for element in elements(dataset):
        if element.VR == "PN":
            found |= {part for one in values(element) for part in re.split(r"[\^=, ]+", one)}
        elif element.keyword in IDENTIFYING or element.VR == "UI":
            found |= set(values(element))
        elif element.VR in ("DA", "DT"):
            found |= {one[:8] for one in values(element)}
        elif element.VR in ("CS", "DS", "IS"):
            coincidences |= {one.lower() for one in values(element)}
    long = {one.lower() for one in found if len(one) > 3 and not one.startswith(DICOM_ROOT)}
    return long - coincidences - {DUMMY}


def test_no_identifier_is_left_anywhere_in_the_bytes(pairs: list[Pair]) -> None:
    assert len(pairs) > 150
    checked = 0
    for path, kept, result in pairs:
        named = identifiers(read_data_set(kept.data_set, kept.transfer_syntax_uid))
        bare = without_pixels_and_pseudonyms(kept, result).lower()
        left = {one for one in named if one.encode("utf-8") in bare}
        assert not left, f"{path}: {left}"
        checked += len(named)
    assert checked > 2000


def both(kept: KeptInstance, result: DeidentifiedInstance) -> tuple[Dataset, Dataset]:
    syntax = kept.transfer_syntax_uid
    return read_data_set(kept.data_set, syntax), read_data_set(result.data_set, syntax)


def without_pixels_and_pseudonyms(kept: KeptInstance, result: DeidentifiedInstance) -> bytes:
    dataset = both(kept, result)[1]
    rest = result.data_set
    if PIXEL_DATA in dataset:
        rest = rest.replace(dataset.get_item(PIXEL_DATA).value, b"")
    for original in result.originals:
        rest = rest.replace(original.pseudonym.encode(), b"")
    return rest


def test_pixels_stay_bit_by_bit(pairs: list[Pair]) -> None:
    compared = 0
    for path, kept, result in pairs:
        before, after = both(kept, result)
        if PIXEL_DATA in before:
            compared += 1
            same = before.get_item(PIXEL_DATA).value == after.get_item(PIXEL_DATA).value
            assert same, path
    assert compared > 150


def test_no_private_element_is_left(pairs: list[Pair]) -> None:
    for path, kept, result in pairs:
        assert not list(private(both(kept, result)[1])), path


def private(dataset: Dataset) -> Iterator[int]:
    for element in dataset:
        if element.tag.is_private:
            yield int(element.tag)
        elif element.VR == "SQ":
            for item in element.value:
                yield from private(item)


def test_geometry_stays(pairs: list[Pair]) -> None:
    for path, kept, result in pairs:
        before, after = both(kept, result)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows"):
            assert before.get(keyword) == after.get(keyword), (path, keyword)


def test_what_is_refused_has_a_reason_and_its_instance(
    results: tuple[list[Pair], list[DeidentificationRefused]],
) -> None:
    refused = results[1]
    reasons = {DeidentificationReason(one.reason) for one in refused}
    assert DeidentificationReason.STRUCTURED_TEXT in reasons
    assert DeidentificationReason.MAY_BE_BURNED_IN in reasons
    assert DeidentificationReason.UNREADABLE not in reasons
    assert all(len(one.instances) == 1 for one in refused)
