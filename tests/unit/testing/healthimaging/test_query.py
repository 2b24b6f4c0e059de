"""QIDO-RS, as dicomweb-client asks it with signed requests."""

from collections.abc import Iterator
from typing import Any

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from tests.peers.cloud import Cloud, open_cloud
from tests.peers.signing import dicomweb, signed_session
from tests.unit.testing.healthimaging.datasets import changed, file_of

PRIVATE = 0x00190010


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, phantom: list[Dataset]) -> Iterator[Cloud]:
    """A cloud with two studies, of which one came twice with different patients."""
    with open_cloud(tmp_path_factory.mktemp("cloud")) as running:
        files = [file_of(one) for one in phantom]
        other = changed(
            phantom[0],
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.3.1",
            SOPInstanceUID="1.2.3.1.1",
            PatientID="OTHER",
            PatientName="Müller^Änne",
            SpecificCharacterSet="ISO_IR 100",
            StudyDate="20250704",
            Modality="MR",
        )
        other.add_new(PRIVATE, "LO", "MAKER")
        other.add_new(0x00191001, "LO", "a private value")
        other.add_new(0x00191002, "OB", bytes(2 << 20))
        item = Dataset()
        item.CodeValue, item.CodeMeaning = "T-1", "somewhere"
        other.AnatomicRegionSequence = [item]
        conflicting = changed(
            phantom[0], PatientID="SOMEBODY-ELSE", SOPInstanceUID="1.2.4", SeriesInstanceUID="1.2.5"
        )
        running.import_files([*files, file_of(conflicting)])
        running.import_files([file_of(other)])
        yield running


@pytest.fixture(scope="module")
def client(cloud: Cloud) -> DICOMwebClient:
    """dicomweb-client, whose requests are signed."""
    url = f"{cloud.endpoint_url}/datastore/{cloud.data_store_id}"
    return DICOMwebClient(url, session=signed_session(cloud))


def values(results: list[dict[str, Any]], tag: str) -> list[Any]:
    return [one[tag]["Value"][0] for one in results]


def test_studies_come_with_the_last_changed_first(
    client: DICOMwebClient, phantom: list[Dataset]
) -> None:
    found = client.search_for_studies()
    assert values(found, "0020000D") == ["1.2.3", phantom[0].StudyInstanceUID]
    assert values(found, "00201208") == [1, len(phantom)]
    assert values(found, "00080061") == ["MR", "CT"]


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({"PatientID": "OTHER"}, 1),
        ({"00100020": "OTHER"}, 1),
        ({"PatientID": "OTH*"}, 1),
        ({"PatientID": "?THER"}, 1),
        ({"PatientID": "SOMEBODY-ELSE"}, 0),
        ({"StudyDate": "20250101-20251231"}, 1),
        ({"StudyDate": "20250101-"}, 2),
        ({"ModalitiesInStudy": "MR"}, 1),
        ({"PatientName": "müller*"}, 1),
        ({"StudyInstanceUID": "1.2.3"}, 1),
        ({"StudyDescription": ""}, 2),
    ],
)
def test_studies_are_matched(client: DICOMwebClient, keys: dict[str, str], count: int) -> None:
    assert len(client.search_for_studies(search_filters=keys)) == count


def test_fuzzy_matching_is_by_beginnings_of_words(client: DICOMwebClient) -> None:
    def found(name: str) -> int:
        filters = {"PatientName": name}
        return len(client.search_for_studies(fuzzymatching=True, search_filters=filters))

    assert (found("an"), found("MUL^än"), found("uller")) == (1, 1, 0)


def test_series_and_instances_come_by_their_numbers(
    client: DICOMwebClient, phantom: list[Dataset]
) -> None:
    study, series = phantom[0].StudyInstanceUID, phantom[0].SeriesInstanceUID
    assert values(client.search_for_series(study), "0020000E") == [series]
    assert values(client.search_for_series(study), "00201209") == [len(phantom)]
    numbers = values(client.search_for_instances(study, series), "00200013")
    assert numbers == list(range(1, len(phantom) + 1))
    assert len(client.search_for_instances(study)) == len(phantom)
    assert len(client.search_for_series()) == 2
    assert len(client.search_for_instances()) == len(phantom) + 1


def test_keys_of_the_levels_above_match_too(client: DICOMwebClient) -> None:
    assert len(client.search_for_instances(search_filters={"PatientID": "OTHER"})) == 1
    assert len(client.search_for_series(search_filters={"StudyDate": "20250704"})) == 1


def test_pages_follow_each_other(client: DICOMwebClient, phantom: list[Dataset]) -> None:
    study, series = phantom[0].StudyInstanceUID, phantom[0].SeriesInstanceUID
    pages = [
        values(client.search_for_instances(study, series, limit=3, offset=at), "00200013")
        for at in (0, 3, 6)
    ]
    assert pages == [[1, 2, 3], [4], []]


def test_fields_are_included(client: DICOMwebClient) -> None:
    filters = {"PatientID": "OTHER", "00190010": "MAKER"}
    fields = ["SliceThickness", "00191001", "AnatomicRegionSequence.CodeValue", "NoSuchKeyword"]
    (found,) = client.search_for_instances(search_filters=filters, fields=fields)
    assert found["00180050"]["Value"] == [10]
    assert found["00191001"]["Value"] == ["a private value"]
    assert found["00082218"]["Value"] == [{"00080100": {"vr": "SH", "Value": ["T-1"]}}]
    (plain,) = client.search_for_instances(search_filters={"PatientID": "OTHER"})
    assert not {"00180050", "00191001", "00082218"} & set(plain)


def test_all_fields_leave_private_ones_out_unless_their_creator_is_named(cloud: Cloud) -> None:
    path = "/instances?PatientID=OTHER&includefield=all"
    (found,) = dicomweb(cloud, path).json()
    assert "00180050" in found
    assert "00191001" not in found
    (with_private,) = dicomweb(cloud, f"{path}&00190010=MAKER").json()
    assert "BulkDataURI" in with_private["00191002"]


@pytest.mark.parametrize(
    "query",
    ["limit=1001", "offset=1000001", "Rows=512", "limit=x", "StudyDate=yesterday"],
)
def test_what_the_service_does_not_take_gets_400(cloud: Cloud, query: str) -> None:
    answer = dicomweb(cloud, f"/studies?{query}")
    assert (answer.status_code, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")


def test_an_answer_that_is_not_accepted_gets_406(cloud: Cloud) -> None:
    answer = dicomweb(cloud, "/studies", headers={"Accept": "text/html"})
    assert answer.status_code == 406


def test_a_search_that_finds_nothing_may_be_answered_without_a_body(cloud: Cloud) -> None:
    for is_empty, status, body in ((False, 200, b"[]"), (True, 204, b"")):
        cloud.behave(answers_empty_search_with_204=is_empty)
        answer = dicomweb(cloud, "/studies?PatientID=NOBODY")
        assert (answer.status_code, answer.content) == (status, body)
