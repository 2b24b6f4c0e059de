"""What a query finds, on both databases: only what the node holds now, and all of it."""

import sqlite3
from collections.abc import Sequence
from typing import cast

import pytest
from pydicom.datadict import tag_for_keyword
from sqlalchemy import Table, insert
from sqlalchemy.dialects import sqlite

from gateway.dicom.identifier import Identifier
from gateway.dicom.query import Level, Query, Root, query_of, search_of
from gateway.settings import Settings
from gateway.store import NodeStore
from gateway.store.queries import Found, QueryIndex, page
from gateway.store.schema import instances, series, studies
from tests.unit.store.samples import CT, EXPLICIT, SERIES, offer, origin

LEVEL = 0x00080052


def asked(root: Root, level: str, **keys: str) -> Query:
    values = {cast(int, tag_for_keyword(keyword)): value for keyword, value in keys.items()}
    return query_of(Identifier(values={LEVEL: level, **values}), root)


def find(store: NodeStore, level: str, **keys: str) -> list[Found]:
    return list(QueryIndex(store.database).find(asked(Root.STUDY, level, **keys)))


def find_of_patients(store: NodeStore, level: str, **keys: str) -> list[Found]:
    return list(QueryIndex(store.database).find(asked(Root.PATIENT, level, **keys)))


def studies_found(store: NodeStore, **keys: str) -> list[str]:
    return [one["study_instance_uid"] for one in find(store, "STUDY", **keys)]


def keep(store: NodeStore, number: int = 1, series_uid: str = SERIES, **values: str) -> None:
    store.intake.keep(offer(number, series=series_uid, **values), origin())


@pytest.fixture
def three_studies(store: NodeStore) -> NodeStore:
    """Two studies of Erika, one of them CT and SEG, and one of Jörg."""
    erika = {"PatientID": "E1", "PatientName": "Mustermann^Erika", "PatientSex": "F"}
    joerg = {
        "PatientID": "J1",
        "PatientName": "Müller^Jörg",
        "SpecificCharacterSet": "ISO_IR 192",
        "StudyDate": "20240301",
        "StudyTime": "101530.5",
    }
    for number in (1, 2, 3):
        keep(
            store,
            number,
            "2.25.11.1",
            StudyInstanceUID="2.25.11",
            StudyDate="20240229",
            AccessionNumber="A11",
            StudyDescription="Thorax",
            InstanceNumber=str(number),
            **erika,
        )
    keep(store, 1, "2.25.11.2", StudyInstanceUID="2.25.11", Modality="SEG", **erika)
    keep(
        store,
        1,
        "2.25.12.1",
        StudyInstanceUID="2.25.12",
        StudyDate="20240105",
        AccessionNumber="A12",
        StudyDescription="Brain_1",
        Modality="MR",
        **erika,
    )
    keep(store, 1, "2.25.13.1", StudyInstanceUID="2.25.13", StudyDescription="Brain11", **joerg)
    return store


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ["2.25.11", "2.25.12", "2.25.13"]),
        ({"StudyInstanceUID": "2.25.12"}, ["2.25.12"]),
        ({"StudyInstanceUID": "2.25.12\\2.25.13\\2.25.99"}, ["2.25.12", "2.25.13"]),
        ({"StudyInstanceUID": "2.25.1"}, []),
        ({"PatientID": "E1"}, ["2.25.11", "2.25.12"]),
        ({"PatientID": "e1"}, []),
        ({"PatientID": "?1"}, ["2.25.11", "2.25.12", "2.25.13"]),
        ({"PatientName": "MUSTERMANN*"}, ["2.25.11", "2.25.12"]),
        ({"PatientName": "muller^jorg"}, ["2.25.13"]),
        ({"PatientName": "m*", "PatientSex": "F"}, ["2.25.11", "2.25.12"]),
        ({"AccessionNumber": "A12"}, ["2.25.12"]),
        ({"StudyDate": "20240229-"}, ["2.25.11", "2.25.13"]),
        ({"StudyDate": "20240105"}, ["2.25.12"]),
        ({"StudyDate": "-20240228"}, ["2.25.12"]),
        ({"StudyTime": "1015"}, ["2.25.13"]),
        ({"StudyDescription": "Brain_1"}, ["2.25.12"]),
        ({"StudyDescription": "Brain_*"}, ["2.25.12"]),
        ({"StudyDescription": "brain*"}, []),
        ({"StudyDescription": "*%*"}, []),
        ({"ModalitiesInStudy": "SEG"}, ["2.25.11"]),
        ({"ModalitiesInStudy": "CT"}, ["2.25.11", "2.25.13"]),
        ({"ModalitiesInStudy": "MR\\SEG"}, ["2.25.11", "2.25.12"]),
        ({"ModalitiesInStudy": "m*"}, []),
        ({"ModalitiesInStudy": "M*"}, ["2.25.12"]),
        ({"PatientID": "E1", "ModalitiesInStudy": "MR"}, ["2.25.12"]),
        ({"PatientName": "Mustermann'; DROP TABLE studies; --"}, []),
        ({"PatientWeight": "80", "PatientID": "J1"}, ["2.25.13"]),
    ],
)
def test_studies_are_found_by_their_keys(
    three_studies: NodeStore, keys: dict[str, str], expected: list[str]
) -> None:
    assert studies_found(three_studies, **keys) == expected


def test_a_study_comes_with_its_attributes_and_numbers(three_studies: NodeStore) -> None:
    (found,) = find(
        three_studies,
        "STUDY",
        StudyInstanceUID="2.25.11",
        ModalitiesInStudy="",
        NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="",
    )
    assert found["patient_name"] == "Mustermann^Erika"
    assert found["accession_number"] == "A11"
    assert found["study_date"] == "20240229"
    assert found["modalities_in_study"] == "CT\\SEG"
    assert found["number_of_study_related_series"] == "2"
    assert found["number_of_study_related_instances"] == "4"


def test_patients_are_found_once_however_many_studies_they_have(three_studies: NodeStore) -> None:
    found = find_of_patients(
        three_studies,
        "PATIENT",
        PatientID="",
        PatientName="",
        NumberOfPatientRelatedStudies="",
        NumberOfPatientRelatedSeries="",
        NumberOfPatientRelatedInstances="",
    )
    assert [one["patient_id"] for one in found] == ["E1", "J1"]
    assert [one["patient_name"] for one in found] == ["Mustermann^Erika", "Müller^Jörg"]
    assert [one["number_of_patient_related_studies"] for one in found] == ["2", "1"]
    assert [one["number_of_patient_related_series"] for one in found] == ["3", "1"]
    assert [one["number_of_patient_related_instances"] for one in found] == ["5", "1"]


def test_studies_of_unknown_patients_are_found_as_studies_only(store: NodeStore) -> None:
    keep(store, PatientID="", StudyInstanceUID="2.25.5")
    assert find_of_patients(store, "PATIENT", PatientName="") == []
    assert studies_found(store) == ["2.25.5"]


def test_equal_patient_ids_of_two_issuers_are_two_patients(store: NodeStore) -> None:
    for number, issuer in enumerate(("NORTH", "SOUTH", "SOUTH"), start=1):
        keep(
            store,
            series_uid=f"2.25.5.{number}",
            StudyInstanceUID=f"2.25.5{number}",
            PatientID="7",
            IssuerOfPatientID=issuer,
        )
    found = find_of_patients(store, "PATIENT", PatientID="7", NumberOfPatientRelatedStudies="")
    assert [
        (one["issuer_of_patient_id"], one["number_of_patient_related_studies"]) for one in found
    ] == [("NORTH", "1"), ("SOUTH", "2")]


def test_series_of_a_study_are_found_with_the_study_s_attributes(three_studies: NodeStore) -> None:
    study = {"StudyInstanceUID": "2.25.11", "NumberOfSeriesRelatedInstances": ""}
    both = find(three_studies, "SERIES", **study, PatientName="")
    (ct,) = find(three_studies, "SERIES", **study, Modality="CT")
    assert [one["series_instance_uid"] for one in both] == ["2.25.11.1", "2.25.11.2"]
    assert [one["number_of_series_related_instances"] for one in both] == ["3", "1"]
    assert {one["patient_name"] for one in both} == {"Mustermann^Erika"}
    assert (ct["series_description"], ct["modality"]) == ("Abdomen", "CT")
    assert find(three_studies, "SERIES", StudyInstanceUID="2.25.11", Modality="ct") == []


def test_a_study_is_not_found_under_another_patient(three_studies: NodeStore) -> None:
    named = {"PatientID": "J1", "StudyInstanceUID": "2.25.11"}
    assert find_of_patients(three_studies, "SERIES", **named) == []
    assert len(find_of_patients(three_studies, "SERIES", **{**named, "PatientID": "E1"})) == 2


def test_instances_of_a_series_are_found_in_order_of_arrival(three_studies: NodeStore) -> None:
    named = {"StudyInstanceUID": "2.25.11", "SeriesInstanceUID": "2.25.11.1"}
    found = find(three_studies, "IMAGE", **named)
    (second,) = find(three_studies, "IMAGE", **named, InstanceNumber="02")
    assert [one["sop_instance_uid"] for one in found] == [f"2.25.11.1.{n}" for n in (1, 2, 3)]
    assert {(one["sop_class_uid"], one["transfer_syntax_uid"]) for one in found} == {(CT, EXPLICIT)}
    assert second["sop_instance_uid"] == "2.25.11.1.2"


def test_only_current_contents_exist(store: NodeStore) -> None:
    keep(store, 1, StudyInstanceUID="2.25.5")
    moved = offer(1, StudyInstanceUID="2.25.6")
    elsewhere = offer(1, StudyInstanceUID="2.25.6", SeriesDescription="corrected")
    store.intake.keep(moved, origin())
    store.intake.keep(elsewhere, origin())

    (found,) = find(store, "STUDY", NumberOfStudyRelatedInstances="")

    assert found["number_of_study_related_instances"] == "1"


def test_a_series_whose_instances_are_all_superseded_is_gone(store: NodeStore) -> None:
    keep(store, 1, StudyInstanceUID="2.25.5")
    with store.database.writing() as connection:
        connection.execute(instances.update().values(current=False))
    assert studies_found(store) == []
    assert find(store, "SERIES", StudyInstanceUID="2.25.5") == []
    assert find_of_patients(store, "PATIENT", PatientID="") == []


def enter(store: NodeStore, table: Table, rows: Sequence[dict[str, object]]) -> None:
    filled = [
        {
            column.name: "" if column.type.python_type is str else 0
            for column in table.c
            if not column.nullable and column.name != "id"
        }
        | row
        for row in rows
    ]
    with store.database.writing() as connection:
        connection.execute(insert(table), filled)


def test_more_matches_than_a_page_come_whole_and_in_order(store: NodeStore) -> None:
    uids = [f"2.25.{number:06d}" for number in range(2500)]
    enter(
        store,
        studies,
        [
            {"study_instance_uid": uid, "patient_id": f"P{number // 5:06d}"}
            for number, uid in enumerate(uids)
        ],
    )
    enter(
        store,
        series,
        [
            {"series_instance_uid": f"{uid}.1", "study_instance_uid": uid, "receiving": False}
            for uid in uids
        ],
    )
    enter(
        store,
        instances,
        [
            {
                "sop_instance_uid": f"{uid}.1.1",
                "series_instance_uid": f"{uid}.1",
                "current": True,
                "object_key": uid,
            }
            for uid in uids
        ],
    )
    patients = find_of_patients(store, "PATIENT", PatientID="")
    assert studies_found(store) == uids
    assert [one["patient_id"] for one in patients] == [f"P{number:06d}" for number in range(500)]


def test_the_first_matches_are_left_out_on_demand(three_studies: NodeStore) -> None:
    index = QueryIndex(three_studies.database)
    search = search_of(Level.IMAGE, {0x00080018: "", 0x00080060: "CT\\SEG"})
    uids = [one["sop_instance_uid"] for one in index.find(search)]
    assert len(uids) == 5
    for skipped in range(7):
        found = index.find(search, skipped=skipped)
        assert [one["sop_instance_uid"] for one in found] == uids[skipped:]


@pytest.mark.parametrize(
    ("level", "root", "keys"),
    [
        ("STUDY", Root.STUDY, {"StudyInstanceUID": "2.25.1"}),
        ("STUDY", Root.STUDY, {"StudyInstanceUID": "2.25.1\\2.25.2"}),
        ("STUDY", Root.STUDY, {"PatientID": "7"}),
        ("STUDY", Root.STUDY, {"PatientID": "7", "PatientName": "a*", "StudyDescription": "*b"}),
        ("STUDY", Root.STUDY, {"AccessionNumber": "7"}),
        ("PATIENT", Root.PATIENT, {"PatientID": "7"}),
        ("STUDY", Root.PATIENT, {"PatientID": "7", "ModalitiesInStudy": "CT"}),
        ("SERIES", Root.STUDY, {"StudyInstanceUID": "2.25.1", "Modality": "CT"}),
        ("SERIES", Root.PATIENT, {"PatientID": "7", "StudyInstanceUID": "2.25.1"}),
        ("IMAGE", Root.STUDY, {"StudyInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2"}),
        (
            "IMAGE",
            Root.STUDY,
            {
                "StudyInstanceUID": "2.25.1",
                "SeriesInstanceUID": "2.25.2",
                "SOPInstanceUID": "2.25.3",
            },
        ),
    ],
)
@pytest.mark.parametrize("place", [None, ("2.25.0", "", "")])
@pytest.mark.parametrize("node_settings", ["sqlite"], indirect=True)
def test_exact_keys_are_searched_by_an_index_and_never_row_by_row(
    store: NodeStore,
    node_settings: Settings,
    level: str,
    root: Root,
    keys: dict[str, str],
    place: tuple[object, ...] | None,
) -> None:
    after = {"PATIENT": place, "IMAGE": place and (5,)}.get(level, place and place[:1])
    statement = page(asked(root, level, **keys), after).compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
    )
    with sqlite3.connect(node_settings.node.data_dir / "index.sqlite") as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    connection.close()

    assert not [step for step in plan if step.startswith("SCAN")]
    assert "=" in plan[0], plan
