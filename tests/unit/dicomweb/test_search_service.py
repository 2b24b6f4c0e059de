"""The search transaction (PS3.18 section 10.6), asked by dicomweb-client and by bare requests."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.dicomweb.search_request import MOST_RESULTS
from gateway.settings import Settings
from gateway.store.schema import instances, series, studies
from tests.peers.instances import ct, new_series
from tests.peers.orthanc import Orthanc
from tests.peers.stow import file_of
from tests.unit.dicomweb.serving import Door, open_node
from tests.unit.store.samples import CT, offer, origin

JSON = "application/dicom+json"


@pytest.fixture
def door(node_settings: Settings) -> Iterator[Door]:
    with open_node(node_settings) as opened:
        yield opened


def keep(door: Door, number: int, series_uid: str, **values: str) -> None:
    door.store.intake.keep(offer(number, series=series_uid, **values), origin())


@pytest.fixture(scope="module")
def three_studies(shared_node_settings: Settings) -> Iterator[Door]:
    """Two studies of Erika, one of them CT and SEG, and one of Tarou, in Japanese."""
    with open_node(shared_node_settings) as door:
        keep_three_studies(door)
        yield door


def keep_three_studies(door: Door) -> None:
    erika = {"PatientID": "E1", "PatientName": "Mustermann^Erika", "PatientSex": "F"}
    thorax = {"StudyInstanceUID": "2.25.11", "StudyDate": "20240229", "AccessionNumber": "A11"}
    for number in (1, 2, 3):
        keep(
            door, number, "2.25.11.1", InstanceNumber=str(number), SeriesNumber="2",
            StudyDescription="Thorax, nativ", **thorax, **erika,
        )  # fmt: skip
    keep(door, 1, "2.25.11.2", Modality="SEG", StudyDescription="Thorax, nativ", **thorax, **erika)
    keep(
        door, 1, "2.25.12.1", StudyInstanceUID="2.25.12", StudyDate="20240105", Modality="MR",
        **erika,
    )  # fmt: skip
    keep(
        door, 1, "2.25.13.1", StudyInstanceUID="2.25.13", StudyDate="20240301", StudyTime="101530",
        PatientID="J1", PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        SpecificCharacterSet="ISO_IR 192",
    )  # fmt: skip


def client(door: Door) -> DICOMwebClient:
    return DICOMwebClient(f"http://127.0.0.1:{door.port}/dicom-web")


def ask(door: Door, path: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", door.port, timeout=10)
    connection.request("GET", f"/dicom-web/{path}", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def studies_found(door: Door, **filters: str) -> list[str]:
    answer, body = ask(door, f"studies?{urlencode(filters)}")
    assert answer.status == 200
    return [one["0020000D"]["Value"][0] for one in json.loads(body)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["2.25.11", "2.25.12", "2.25.13"]),
        ({"PatientID": "E1"}, ["2.25.11", "2.25.12"]),
        ({"PatientID": "e1"}, []),
        ({"00100020": "?1"}, ["2.25.11", "2.25.12", "2.25.13"]),
        ({"PatientName": "MUSTERMANN*"}, ["2.25.11", "2.25.12"]),
        ({"PatientName": "山田*"}, ["2.25.13"]),
        ({"PatientName": "yamada^tarou"}, ["2.25.13"]),
        ({"StudyDate": "20240201-20240301"}, ["2.25.11", "2.25.13"]),
        ({"StudyDate": "-20240228"}, ["2.25.12"]),
        ({"StudyTime": "1000-1100"}, ["2.25.13"]),
        ({"StudyInstanceUID": "2.25.12,2.25.13,2.25.99"}, ["2.25.12", "2.25.13"]),
        ({"StudyInstanceUID": "2.25.12\\2.25.13"}, ["2.25.12", "2.25.13"]),
        ({"ModalitiesInStudy": "SEG"}, ["2.25.11"]),
        ({"ModalitiesInStudy": "SEG,MR"}, ["2.25.11", "2.25.12"]),
        ({"StudyDescription": "Thorax, n*"}, ["2.25.11"]),
        ({"PatientID": "E1", "AccessionNumber": "A11"}, ["2.25.11"]),
        ({"PatientName": "'; DROP TABLE studies; --"}, []),
    ],
)
def test_studies_are_found_as_by_c_find(
    three_studies: Door, filters: dict[str, str], expected: list[str]
) -> None:
    assert studies_found(three_studies, **filters) == expected


def test_dicomweb_client_finds_studies_with_their_attributes(three_studies: Door) -> None:
    (found,) = client(three_studies).search_for_studies(
        search_filters={"PatientID": "E1", "ModalitiesInStudy": "SEG"}, fields=["StudyDescription"]
    )
    study = Dataset.from_json(found)
    assert study.StudyInstanceUID == "2.25.11"
    assert (study.StudyDate, study.StudyTime, study.AccessionNumber) == ("20240229", "", "A11")
    assert (str(study.PatientName), study.PatientSex) == ("Mustermann^Erika", "F")
    assert list(study.ModalitiesInStudy) == ["CT", "SEG"]
    assert (study.NumberOfStudyRelatedSeries, study.NumberOfStudyRelatedInstances) == (2, 4)
    assert (study.StudyDescription, study.InstanceAvailability) == ("Thorax, nativ", "ONLINE")
    assert found["00201208"]["Value"] == [4]
    assert found["00080030"] == {"vr": "TM"}
    assert "RetrieveURL" not in study
    assert "Modality" not in study


def test_dicomweb_client_finds_series_of_a_study_and_of_all(three_studies: Door) -> None:
    of_study = client(three_studies).search_for_series("2.25.11")
    of_all = client(three_studies).search_for_series(search_filters={"Modality": "CT"})
    assert [one["0020000E"]["Value"][0] for one in of_study] == ["2.25.11.1", "2.25.11.2"]
    assert [one["0020000E"]["Value"][0] for one in of_all] == ["2.25.11.1", "2.25.13.1"]
    assert of_study[0]["0020000D"]["Value"] == ["2.25.11"]
    assert of_study[0]["00201209"]["Value"] == [3]
    assert of_study[0]["00200011"] == {"vr": "IS", "Value": [2]}
    assert "00100010" not in of_study[0]
    assert of_all[1]["00100020"]["Value"] == ["J1"]
    assert of_all[0]["00201208"]["Value"] == [4]


def test_dicomweb_client_finds_instances_of_a_series_of_a_study_and_of_all(
    three_studies: Door,
) -> None:
    asked = client(three_studies)
    of_series = asked.search_for_instances("2.25.11", "2.25.11.1")
    of_study = asked.search_for_instances("2.25.11", search_filters={"InstanceNumber": "02"})
    of_all = asked.search_for_instances(search_filters={"SOPInstanceUID": "2.25.13.1.1"})
    assert [one["00080018"]["Value"][0] for one in of_series] == [
        f"2.25.11.1.{number}" for number in (1, 2, 3)
    ]
    assert of_series[0]["00080016"]["Value"] == [CT]
    assert [one["00200013"]["Value"] for one in of_study] == [[2]]
    assert of_study[0]["00080060"]["Value"] == ["CT"]
    assert of_all[0]["00100020"]["Value"] == ["J1"]


def test_names_come_with_all_their_groups_in_utf_8(three_studies: Door) -> None:
    answer, body = ask(three_studies, f"studies?PatientName={quote('山田*')}")
    (found,) = json.loads(body)
    assert found["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    assert answer.headers["Content-Type"] == JSON
    assert answer.headers["Cache-Control"] == "no-store"


def test_what_is_not_there_is_an_empty_list(three_studies: Door) -> None:
    answer, body = ask(three_studies, "studies/2.25.99/series")
    assert (answer.status, body) == (200, b"[]")
    assert client(three_studies).search_for_series("2.25.99") == []
    assert client(three_studies).search_for_studies(offset=3) == []


@pytest.mark.peers
def test_orthanc_finds_studies_and_series(three_studies: Door, pacs: Orthanc) -> None:
    pacs.know_web("gateway", three_studies.port)
    found = pacs.qido_at("gateway", "studies", PatientName="*^tarou")
    assert [one["StudyInstanceUID"] for one in found] == ["2.25.13"]
    assert found[0]["PatientID"] == "J1"
    assert len(pacs.qido_at("gateway", "studies/2.25.11/series")) == 2
    assert pacs.qido_at("gateway", "studies", PatientID="nobody") == []


def test_what_was_just_stored_is_found(door: Door) -> None:
    names = new_series()
    stored = [dcmread(BytesIO(file_of(ct(names, number)))) for number in (1, 2)]
    asked = client(door)
    asked.store_instances(stored)
    found = asked.search_for_instances(names.study_instance_uid, names.series_instance_uid)
    assert {one["00080018"]["Value"][0] for one in found} == {
        str(one.SOPInstanceUID) for one in stored
    }


@pytest.mark.parametrize("resource", ["studies", "series", "instances", "studies/2.25.11/series"])
@pytest.mark.parametrize("limit", [1, 2])
def test_paging_gives_every_match_once(three_studies: Door, resource: str, limit: int) -> None:
    _, whole = ask(three_studies, resource)
    walked: list[Any] = []
    while page := json.loads(
        ask(three_studies, f"{resource}?limit={limit}&offset={len(walked)}")[1]
    ):
        assert len(page) <= limit
        walked += page
    assert walked == json.loads(whole)
    assert len(walked) > 1


def enter_studies(door: Door, number: int) -> list[str]:
    """Enter studies of one instance into the index; every third one is of patient ODD."""
    uids = [f"2.25.{one:06d}" for one in range(number)]
    rows: dict[Any, list[dict[str, object]]] = {
        studies: [
            {"study_instance_uid": uid, "patient_id": "EVEN" if one % 3 else "ODD"}
            for one, uid in enumerate(uids)
        ],
        series: [
            {"series_instance_uid": f"{uid}.1", "study_instance_uid": uid, "modality": "CT"}
            for uid in uids
        ],
        instances: [
            {"sop_instance_uid": f"{uid}.1.1", "series_instance_uid": f"{uid}.1", "current": True,
             "object_key": uid}
            for uid in uids
        ],
    }  # fmt: skip
    with door.store.database.writing() as connection:
        for table, some in rows.items():
            filled = {
                column.name: "" if column.type.python_type is str else column.type.python_type(0)
                for column in table.c
                if not column.nullable and column.name != "id"
            }
            connection.execute(table.insert(), [filled | row for row in some])
    return uids


def test_an_answer_is_cut_at_the_node_s_own_limit_and_says_so(door: Door) -> None:
    uids = enter_studies(door, 2 * MOST_RESULTS + 500)
    walked: list[str] = []
    warnings = []
    for _ in range(3):
        answer, body = ask(door, f"studies?limit=5000&offset={len(walked)}")
        walked += [one["0020000D"]["Value"][0] for one in json.loads(body)]
        warnings.append(answer.headers["Warning"])
    assert walked == uids
    assert warnings[0] == (
        '299 gateway "The number of results exceeded the maximum of 1000 at once. '
        'Additional results can be requested with offset=1000"'
    )
    assert "offset=2000" in warnings[1]
    assert warnings[2] is None
    assert "Warning" not in ask(door, "studies?limit=1000")[0].headers


def test_an_offset_counts_matches_and_not_what_is_passed_over(door: Door) -> None:
    uids = enter_studies(door, 2500)[::3]
    asked = client(door)
    for offset in (0, 400, 833):
        found = asked.search_for_studies(
            search_filters={"PatientID": "O*"}, limit=10, offset=offset
        )
        assert [one["0020000D"]["Value"][0] for one in found] == uids[offset : offset + 10]
        assert {one["00201208"]["Value"][0] for one in found} == {1}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, JSON),
        (JSON, JSON),
        ("*/*", JSON),
        ("application/json", "application/json"),
        ("application/json;q=0.9, application/dicom+json;q=0.5", "application/json"),
        ('multipart/related; type="application/dicom+xml", application/dicom+json;q=0.1', JSON),
    ],
)
def test_the_answer_has_the_form_that_is_accepted(
    three_studies: Door, accept: str | None, kind: str
) -> None:
    answer, _ = ask(three_studies, "studies", **({"Accept": accept} if accept else {}))
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)


@pytest.mark.parametrize(
    "accept", ['multipart/related; type="application/dicom+xml"', "text/html", f"{JSON};q=0"]
)
def test_other_forms_are_refused_with_those_that_there_are(
    three_studies: Door, accept: str
) -> None:
    answer, body = ask(three_studies, "studies", Accept=accept)
    assert answer.status == 406
    assert JSON in body.decode()


def test_the_form_of_the_answer_may_stand_in_the_query(three_studies: Door) -> None:
    answer, _ = ask(three_studies, "studies?accept=application/json", Accept="text/html")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize(
    "path",
    [
        "studies?PatientNam=A",
        "studies?StudyDate=yesterday",
        "studies?limit=-1",
        "studies?PatientID=a%00b",
        "studies?PatientID=1&PatientID=2",
        "series?StudyInstanceUID=1.2.x",
        "studies/1.2.x/series",
        "studies/2.25.1%5C2.25.2/instances",
    ],
)
def test_what_cannot_be_understood_is_told(three_studies: Door, path: str) -> None:
    answer, body = ask(three_studies, path)
    assert answer.status == 400
    assert body.endswith(b"\n")


def test_what_was_not_done_is_told(three_studies: Door) -> None:
    answer, body = ask(three_studies, "studies?PatientWeight=80&PatientID=J1&fuzzymatching=true")
    assert len(json.loads(body)) == 1
    told = answer.headers.get_all("Warning") or []
    assert told[0] == (
        '299 gateway "The fuzzymatching parameter is not supported. '
        'Only literal matching has been performed."'
    )
    assert told[1].endswith('keep them here: PatientWeight"')
    assert client(three_studies).search_for_studies(fuzzymatching=True, limit=1)


def test_no_log_names_what_was_searched(three_studies: Door) -> None:
    with capture_logs() as logs:
        studies_found(three_studies, PatientName="Mustermann*")
        ask(three_studies, "studies?PatientID=E1&limit=x")
    assert [one["event"] for one in logs] == ["search_request"]
    assert logs[0]["found"] == 2
    assert "mustermann" not in str(logs).lower()


@pytest.mark.parametrize("node_settings", ["sqlite"], indirect=True)
def test_an_index_that_does_not_answer_is_503(door: Door) -> None:
    with door.store.database.writing() as connection:
        connection.execute(text("ALTER TABLE studies RENAME TO elsewhere"))
    answer, body = ask(door, "studies")
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "10"
    assert b"index" in body
