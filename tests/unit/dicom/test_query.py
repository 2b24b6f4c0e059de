"""What a query or retrieval must say, and what is made of it."""

import pytest
from pydicom.datadict import tag_for_keyword

from gateway.dicom.identifier import Identifier
from gateway.dicom.matching import Dates, OneOf, PersonName
from gateway.dicom.query import (
    Level,
    Retrieval,
    Root,
    query_of,
    retrieval_of,
    returnable,
    search_of,
    searchable,
)
from gateway.errors import IdentifierRefused


def identifier(level: str | None = None, **keys: str) -> Identifier:
    values = {tag_for_keyword(keyword): value for keyword, value in keys.items()}
    if level is not None:
        values[0x00080052] = level
    return Identifier(values={tag: value for tag, value in values.items() if tag is not None})


def test_keys_with_values_are_matched_and_all_keys_come_back() -> None:
    query = query_of(
        identifier(
            "STUDY", PatientName="A*", StudyDate="20240101-", AccessionNumber="", PatientID="7"
        ),
        Root.STUDY,
    )
    assert query.level is Level.STUDY
    assert query.matching == {
        "patient_name": PersonName(patterns=("A*",)),
        "study_date": Dates(first="20240101", last=None),
        "patient_id": OneOf(values=("7",)),
    }
    assert set(query.returned.values()) == {
        "patient_name",
        "study_date",
        "accession_number",
        "patient_id",
    }
    assert query.is_fully_supported
    assert not query.unsupported


def test_what_the_index_does_not_keep_is_unsupported() -> None:
    query = query_of(identifier("STUDY", PatientID="7", PatientWeight=""), Root.STUDY)
    assert query.unsupported == (0x00101030,)
    assert not query.is_fully_supported


def test_attributes_below_the_level_are_unsupported() -> None:
    query = query_of(identifier("STUDY", SeriesInstanceUID="", Modality="CT"), Root.STUDY)
    assert set(query.unsupported) == {0x0020000E, 0x00080060}
    assert not query.matching


def test_attributes_above_the_level_belong_to_the_match() -> None:
    asked = identifier("SERIES", StudyInstanceUID="1.2", PatientName="", StudyDate="20240101")
    query = query_of(asked, Root.STUDY)
    assert query.is_fully_supported
    assert set(query.matching) == {"study_instance_uid", "study_date"}


def test_counts_are_returned_and_never_matched() -> None:
    returned = query_of(identifier("STUDY", NumberOfStudyRelatedSeries=""), Root.STUDY)
    matched = query_of(identifier("STUDY", NumberOfStudyRelatedSeries="2"), Root.STUDY)
    assert returned.is_fully_supported
    assert not matched.is_fully_supported
    assert not matched.matching
    assert matched.wants("number_of_study_related_series")
    assert not matched.wants("number_of_study_related_instances")


def test_what_describes_the_identifier_is_no_key() -> None:
    asked = identifier(
        "STUDY", SpecificCharacterSet="ISO_IR 100", RetrieveAETitle="", InstanceAvailability=""
    )
    group_length = Identifier(values={**asked.values, 0x00080000: "", 0x00100000: ""})
    query = query_of(group_length, Root.STUDY)
    assert (query.returned, query.unsupported, query.is_fully_supported) == ({}, (), True)
    assert query.asks_availability


def test_private_keys_are_not_supported_and_not_returned() -> None:
    asked = Identifier(values={0x00080052: "STUDY", 0x00090010: "ACME", 0x00091001: ""})
    query = query_of(asked, Root.STUDY)
    assert not query.unsupported
    assert not query.is_fully_supported


@pytest.mark.parametrize(
    ("root", "level", "missing", "keys"),
    [
        (Root.PATIENT, "STUDY", "PatientID", {}),
        (Root.PATIENT, "SERIES", "PatientID", {"StudyInstanceUID": "1.2"}),
        (Root.PATIENT, "SERIES", "StudyInstanceUID", {"PatientID": "7"}),
        (Root.PATIENT, "IMAGE", "SeriesInstanceUID", {"PatientID": "7", "StudyInstanceUID": "1.2"}),
        (Root.STUDY, "SERIES", "StudyInstanceUID", {}),
        (Root.STUDY, "SERIES", "StudyInstanceUID", {"StudyInstanceUID": "*"}),
        (Root.STUDY, "SERIES", "StudyInstanceUID", {"StudyInstanceUID": "1.2\\1.3"}),
        (Root.STUDY, "IMAGE", "SeriesInstanceUID", {"StudyInstanceUID": "1.2"}),
        (Root.PATIENT, "STUDY", "PatientID", {"PatientID": "7*"}),
    ],
)
def test_a_search_names_the_one_patient_study_and_series_it_looks_into(
    root: Root, level: str, missing: str, keys: dict[str, str]
) -> None:
    with pytest.raises(IdentifierRefused, match=missing) as refused:
        query_of(identifier(level, **keys), root)
    assert refused.value.dimse_status == 0xA900


@pytest.mark.parametrize(
    ("root", "level"),
    [
        (Root.STUDY, "PATIENT"),
        (Root.STUDY, None),
        (Root.STUDY, ""),
        (Root.PATIENT, "WORKLIST"),
        (Root.PATIENT, "study"),
    ],
)
def test_a_level_that_the_model_does_not_have_is_refused(root: Root, level: str | None) -> None:
    for read in (query_of, retrieval_of):
        with pytest.raises(IdentifierRefused, match=r"Level|level"):
            read(identifier(level, PatientID="7"), root)


@pytest.mark.parametrize(
    ("root", "asked", "expected"),
    [
        (
            Root.PATIENT,
            identifier("PATIENT", PatientID="7"),
            Retrieval(level=Level.PATIENT, patient_id="7"),
        ),
        (
            Root.STUDY,
            identifier("STUDY", StudyInstanceUID="1.2\\1.3"),
            Retrieval(level=Level.STUDY, study_instance_uids=("1.2", "1.3")),
        ),
        (
            Root.PATIENT,
            identifier("SERIES", PatientID="7", StudyInstanceUID="1.2", SeriesInstanceUID="1.3"),
            Retrieval(
                level=Level.SERIES,
                patient_id="7",
                study_instance_uids=("1.2",),
                series_instance_uids=("1.3",),
            ),
        ),
        (
            Root.STUDY,
            identifier(
                "IMAGE",
                StudyInstanceUID="1.2",
                SeriesInstanceUID="1.3",
                SOPInstanceUID="1.4\\1.5",
                PatientID="ignored",
            ),
            Retrieval(
                level=Level.IMAGE,
                study_instance_uids=("1.2",),
                series_instance_uids=("1.3",),
                sop_instance_uids=("1.4", "1.5"),
            ),
        ),
    ],
)
def test_a_retrieval_names_what_it_wants_by_unique_keys(
    root: Root, asked: Identifier, expected: Retrieval
) -> None:
    assert retrieval_of(asked, root) == expected


@pytest.mark.parametrize(
    ("root", "asked", "missing"),
    [
        (Root.PATIENT, identifier("PATIENT"), "PatientID"),
        (Root.PATIENT, identifier("PATIENT", PatientID="7\\8"), "PatientID"),
        (Root.PATIENT, identifier("PATIENT", PatientID="*"), "PatientID"),
        (Root.STUDY, identifier("STUDY"), "StudyInstanceUID"),
        (Root.STUDY, identifier("SERIES", SeriesInstanceUID="1.3"), "StudyInstanceUID"),
        (Root.STUDY, identifier("SERIES", StudyInstanceUID="1.2"), "SeriesInstanceUID"),
    ],
)
def test_a_retrieval_without_its_unique_keys_is_refused(
    root: Root, asked: Identifier, missing: str
) -> None:
    with pytest.raises(IdentifierRefused, match=missing):
        retrieval_of(asked, root)


def test_a_search_need_not_name_what_is_above_its_level() -> None:
    query = search_of(Level.IMAGE, {0x00100020: "7", 0x00080060: "CT", 0x00201206: ""})
    assert query.matching == {
        "patient_id": OneOf(values=("7",)),
        "modality": OneOf(values=("CT",)),
    }
    assert query.wants("number_of_study_related_series")
    assert query.is_fully_supported


def test_a_level_is_searched_by_its_own_attributes_and_those_above() -> None:
    assert {0x00100010, 0x00080061} <= searchable(Level.STUDY) < searchable(Level.SERIES)
    assert 0x00080060 not in searchable(Level.STUDY)
    assert returnable(Level.STUDY) - searchable(Level.STUDY) == {
        0x00201200,
        0x00201202,
        0x00201204,
        0x00201206,
        0x00201208,
    }
