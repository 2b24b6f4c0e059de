"""What a search's path and parameters ask for (PS3.18 sections 8.3.4 and 10.6.1)."""

import pytest

from gateway.dicom.matching import Dates, OneOf, PersonName
from gateway.dicom.query import Level
from gateway.dicomweb.search_request import MOST_RESULTS, SearchRequest, search_request
from gateway.errors import IdentifierRefused

STUDY, SERIES = 0x0020000D, 0x0020000E


def asked(*parameters: tuple[str, str], level: Level = Level.STUDY) -> SearchRequest:
    return search_request(level, {}, parameters)


def test_attributes_are_named_by_keyword_or_by_tag() -> None:
    by_keyword = asked(("PatientName", "a*"), ("StudyDate", "20240101-"))
    by_tag = asked(("00100010", "a*"), ("00080020", "20240101-"))
    assert by_keyword == by_tag
    assert by_keyword.query.matching == {
        "patient_name": PersonName(patterns=("a*",)),
        "study_date": Dates(first="20240101", last=None),
    }
    assert by_keyword.warnings == ()


@pytest.mark.parametrize("separator", [",", "\\"])
def test_lists_of_uids_have_commas_or_backslashes(separator: str) -> None:
    request = asked(("StudyInstanceUID", f"2.25.1{separator}2.25.2"))
    assert request.query.matching == {"study_instance_uid": OneOf(values=("2.25.1", "2.25.2"))}


def test_a_comma_may_stand_in_other_values() -> None:
    request = asked(("StudyDescription", "Thorax, native"))
    assert request.query.matching == {"study_description": OneOf(values=("Thorax, native",))}


@pytest.mark.parametrize("value", ["", "*", "**"])
def test_an_empty_value_and_an_asterisk_match_everything(value: str) -> None:
    request = asked(("StudyInstanceUID", value), ("AccessionNumber", value))
    assert request.query.matching == {}
    assert request.warnings == ()


@pytest.mark.parametrize(
    ("level", "path", "has", "has_not"),
    [
        (Level.STUDY, (), {"patient_name", "modalities_in_study"}, {"modality"}),
        (Level.SERIES, (), {"patient_name", "modality"}, {"sop_class_uid"}),
        (Level.SERIES, (STUDY,), {"study_instance_uid", "modality"}, {"patient_name"}),
        (Level.IMAGE, (), {"patient_name", "modality", "sop_class_uid"}, set()),
        (Level.IMAGE, (STUDY,), {"modality", "sop_class_uid"}, {"patient_name"}),
        (
            Level.IMAGE,
            (STUDY, SERIES),
            {"study_instance_uid", "series_instance_uid", "sop_class_uid"},
            {"modality", "patient_name"},
        ),
    ],
)
def test_the_path_says_which_levels_an_answer_has(
    level: Level, path: tuple[int, ...], has: set[str], has_not: set[str]
) -> None:
    request = search_request(level, dict.fromkeys(path, "2.25.1"), ())
    returned = set(request.query.returned.values())
    assert has <= returned
    assert not has_not & returned


def test_more_attributes_come_back_when_they_are_asked_for() -> None:
    ways = [
        asked(("includefield", "StudyDescription,00100021")),
        asked(("includefield", "StudyDescription"), ("includefield", "IssuerOfPatientID")),
    ]
    wanted = {"study_description", "issuer_of_patient_id"}
    assert all(wanted <= set(way.query.returned.values()) for way in ways)
    assert wanted <= set(asked(("includefield", "all")).query.returned.values())
    assert not wanted & set(asked().query.returned.values())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PatientWeight", "80", "Not matched, since the index does not keep them here"),
        ("Modality", "CT", "Not matched"),
        ("00091001", "x", "Not matched"),
        ("NumberOfStudyRelatedSeries", "2", "Not matched"),
        ("RequestAttributesSequence.ScheduledProcedureStepID", "2", "Not matched"),
        ("includefield", "PatientWeight", "Not returned"),
        ("includefield", "00400275.00400009", "Not returned"),
        ("fuzzymatching", "true", "The fuzzymatching parameter is not supported"),
        ("emptyvaluematching", "true", "The emptyvaluematching parameter is not supported"),
    ],
)
def test_what_is_not_done_is_told(name: str, value: str, told: str) -> None:
    (warning,) = asked((name, value)).warnings
    assert told in warning


def test_a_warning_stays_short_enough_for_a_header() -> None:
    many = ",".join(f"0009{number:04X}" for number in range(800))
    (warning,) = asked(("includefield", many)).warnings
    assert warning.endswith("00090008, 00090009 and 790 more")


def test_what_needs_no_warning_has_none() -> None:
    request = asked(("fuzzymatching", "false"), ("includefield", "InstanceAvailability"))
    assert request.warnings == ()


@pytest.mark.parametrize(
    ("limit", "most", "is_limited_here"),
    [
        (None, MOST_RESULTS, True),
        ("0", 0, False),
        ("7", 7, False),
        ("1000", MOST_RESULTS, False),
        ("1001", MOST_RESULTS, True),
    ],
)
def test_a_limit_is_the_client_s_up_to_the_node_s_own(
    limit: str | None, most: int, is_limited_here: bool
) -> None:
    request = asked(*([] if limit is None else [("limit", limit)]))
    assert (request.most, request.is_limited_here) == (most, is_limited_here)


@pytest.mark.parametrize(
    "parameters",
    [
        [("PatientNam", "A")],
        [("", "A")],
        [("0010001", "A")],
        [("Nonesuch.PatientName", "A")],
        [("includefield", "Nonesuch")],
        [("limit", "-1")],
        [("limit", "many")],
        [("limit", "9" * 5000)],
        [("limit", "1"), ("limit", "2")],
        [("offset", "1.5")],
        [("offset", "")],
        [("fuzzymatching", "maybe")],
        [("PatientID", "1"), ("00100020", "2")],
        [("PatientID", "a\0b")],
        [("PatientID", "x" * 2000)],
        [("StudyDate", "yesterday")],
        [("StudyDate", "20240101,20240102")],
        [("StudyTime", "25h")],
        [("StudyInstanceUID", "1.2.x")],
        [("StudyInstanceUID", "1.2*")],
    ],
)
def test_what_cannot_be_understood_is_refused(parameters: list[tuple[str, str]]) -> None:
    with pytest.raises(IdentifierRefused) as refused:
        asked(*parameters)
    assert "yesterday" not in str(refused.value)


@pytest.mark.parametrize("path", [{STUDY: "x"}, {STUDY: "2.25.1", SERIES: "2.25.1\\2.25.2"}])
def test_a_path_names_uids(path: dict[int, str]) -> None:
    with pytest.raises(IdentifierRefused):
        search_request(Level.IMAGE, path, ())


def test_a_uid_stands_in_the_path_or_in_the_query() -> None:
    with pytest.raises(IdentifierRefused):
        search_request(Level.SERIES, {STUDY: "2.25.1"}, [("StudyInstanceUID", "2.25.1")])
