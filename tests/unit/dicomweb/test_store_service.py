"""The store transaction (PS3.18 section 10.5), from the request's bytes to the answer."""

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.peers.instances import PATIENT, PATIENT_ID, SeriesNames, ct, new_series, sha256
from tests.peers.processes import wait_until
from tests.peers.raw import Part10
from tests.peers.stow import (
    BOUNDARY,
    JSON,
    begin,
    file_of,
    multipart,
    request,
    store,
)
from tests.unit.dicomweb.serving import Door, open_door

OUT_OF_RESOURCES, MISMATCH, OTHER_STUDY, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xA901, 0xC000
XML = "application/dicom+xml"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path) as opened:
        yield opened


@pytest.fixture
def names() -> SeriesNames:
    return new_series()


def held(door: Door, names: SeriesNames) -> list[str]:
    """Return the digests of what the index has of a series."""
    return [one.sha256 for one in door.store.instances.of_series(names.series_instance_uid)]


def nameless(names: SeriesNames) -> Part10:
    """Return an instance whose data set says nothing of itself."""
    item = ct(names, 66)
    return Part10(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
        data_set=item.data_set[:30],
    )


def renamed(item: Part10) -> Part10:
    """Return an instance that its file meta information calls by another name."""
    return Part10(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=f"{item.sop_instance_uid}.9",
        transfer_syntax_uid=item.transfer_syntax_uid,
        data_set=item.data_set,
    )


# What is stored


def test_instances_are_kept_as_they_came(door: Door, names: SeriesNames) -> None:
    instances = [ct(names, number, size_bytes=70_000) for number in (1, 2, 3)]

    answer = store(door.port, instances)

    assert answer.status == 200
    assert answer.referenced == [item.sop_instance_uid for item in instances]
    assert answer.failed == []
    assert answer.others == []
    assert sorted(held(door, names)) == sorted(sha256(item) for item in instances)
    for one in door.store.instances.of_series(names.series_instance_uid):
        with door.store.objects.open_data_set(one.object_key) as file:
            assert hashlib.sha256(file.read()).hexdigest() == one.sha256


def test_the_answer_says_nothing_that_is_not_so(door: Door, names: SeriesNames) -> None:
    module = store(door.port, [ct(names, 1)]).module
    assert module == {
        "00081199": {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": {"vr": "UI", "Value": [ct(names, 1).sop_class_uid]},
                    "00081155": {"vr": "UI", "Value": [names.instance(1)]},
                }
            ],
        }
    }


def test_one_instance_may_be_the_whole_body(door: Door, names: SeriesNames) -> None:
    answer = request(door.port, file_of(ct(names, 1)), content_type="application/dicom")
    assert (answer.status, answer.referenced) == (200, [names.instance(1)])


def test_a_body_may_come_in_chunks(door: Door, names: SeriesNames) -> None:
    body = multipart([file_of(ct(names, number)) for number in (1, 2)])
    answer = request(door.port, iter([body[at : at + 700] for at in range(0, len(body), 700)]))
    assert (answer.status, len(answer.referenced)) == (200, 2)


def test_whatever_the_transfer_syntax_the_bytes_stay(door: Door, names: SeriesNames) -> None:
    item = ct(names, 1)
    private = Part10(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        transfer_syntax_uid="1.2.840.10008.1.2.4.201",
        data_set=item.data_set,
    )
    assert store(door.port, [private]).status == 200
    (kept,) = door.store.instances.of_series(names.series_instance_uid)
    assert (kept.transfer_syntax_uid, kept.sha256) == ("1.2.840.10008.1.2.4.201", sha256(item))


@pytest.mark.parametrize(
    "content_type",
    [
        f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"',
        f"multipart/related;boundary={BOUNDARY};type=application/dicom",
        f"Multipart/Related; Boundary={BOUNDARY}; Type=Application/DICOM; start=x",
        f"multipart/related; boundary={BOUNDARY}",
    ],
)
def test_clients_spell_content_types_in_many_ways(
    door: Door, names: SeriesNames, content_type: str
) -> None:
    body = b"preamble\r\n" + multipart([file_of(ct(names, 1))]) + b"epilogue"
    assert request(door.port, body, content_type=content_type).status == 200


def test_the_same_instance_again_is_stored_once(door: Door, names: SeriesNames) -> None:
    for _ in range(2):
        assert store(door.port, [ct(names, 1)]).status == 200
    assert held(door, names) == [sha256(ct(names, 1))]


def test_other_bytes_under_the_same_name_are_kept_beside_the_first(
    door: Door, names: SeriesNames
) -> None:
    first, second = ct(names, 1), ct(names, 1, size_bytes=6000)
    for item in (first, second):
        assert store(door.port, [item]).status == 200
    kept = door.store.instances.of_series(names.series_instance_uid)
    assert [(one.sha256, one.current) for one in kept] == [
        (sha256(first), False),
        (sha256(second), True),
    ]


def test_the_index_knows_the_door(door: Door, names: SeriesNames) -> None:
    assert store(door.port, [ct(names, 1)]).status == 200
    series = door.store.series.get(names.series_instance_uid)
    assert (series.source, series.calling_ae, series.called_ae) == ("stow", "", "")


# What is refused


def test_a_study_takes_its_own_instances_only(door: Door, names: SeriesNames) -> None:
    stranger = ct(new_series(), 1, size_bytes=200_000)
    instances = [ct(names, 1), stranger, ct(names, 2)]

    answer = store(door.port, instances, study=names.study_instance_uid)

    assert answer.status == 202
    assert answer.referenced == [names.instance(1), names.instance(2)]
    assert answer.failed == [(stranger.sop_instance_uid, OTHER_STUDY)]
    assert door.store.instances.current(stranger.sop_instance_uid) is None
    assert door.left_in_spool() == []


def test_a_request_with_nothing_of_its_study_is_a_conflict(door: Door, names: SeriesNames) -> None:
    answer = store(door.port, [ct(names, 1)], study="2.25.999")
    assert answer.status == 409
    assert answer.failed == [(names.instance(1), OTHER_STUDY)]


def test_what_is_no_dicom_is_told_beside_the_others(door: Door, names: SeriesNames) -> None:
    files = [b"GIF89a" + bytes(300), file_of(ct(names, 1)), b"", file_of(ct(names, 2))[:150]]

    answer = request(door.port, multipart(files))

    assert (answer.status, answer.referenced) == (202, [names.instance(1)])
    assert answer.others == [CANNOT_UNDERSTAND] * 3


@pytest.mark.parametrize(
    ("change", "reason"), [(renamed, MISMATCH), (lambda item: item, None)], ids=["other", "same"]
)
def test_a_data_set_must_bear_the_name_of_its_file(
    door: Door, names: SeriesNames, change: Any, reason: int | None
) -> None:
    item = change(ct(names, 1))
    answer = store(door.port, [item])
    assert answer.status == (200 if reason is None else 409)
    assert answer.failed == ([] if reason is None else [(item.sop_instance_uid, reason)])


def test_what_cannot_be_read_is_set_aside(door: Door, names: SeriesNames) -> None:
    item = nameless(names)
    answer = store(door.port, [item])
    assert answer.status == 409
    assert answer.failed == [(item.sop_instance_uid, CANNOT_UNDERSTAND)]
    (kept,) = (door.folder / "quarantine").glob("*.bin")
    assert kept.read_bytes() == item.data_set


@pytest.mark.parametrize("study", ["1.2.x", "..", "%2e%2e", "1" * 65, "a%00b"])
def test_a_path_that_names_no_study_is_refused(door: Door, names: SeriesNames, study: str) -> None:
    assert store(door.port, [ct(names, 1)], study=study).status in (400, 404)
    assert held(door, names) == []


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 415),
        ("application/json", 415),
        ("application/octet-stream", 415),
        ("multipart/form-data; boundary=x", 415),
        ('multipart/related; type="application/dicom+json"; boundary=x', 415),
        ('multipart/related; type="application/dicom+xml"; boundary=x', 415),
        ("text/plain", 415),
        ('multipart/related; type="application/dicom"', 400),
        (f'multipart/related; type="application/dicom"; boundary={"x" * 201}', 400),
    ],
)
def test_other_media_types_are_refused_with_a_sentence(
    door: Door, names: SeriesNames, content_type: str | None, status: int
) -> None:
    answer = request(door.port, multipart([file_of(ct(names, 1))]), content_type=content_type)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert len(answer.body.split()) > 3


@pytest.mark.parametrize("accept", ["text/html", "application/dicom", f"{JSON};q=0"])
def test_a_client_that_takes_no_answer_of_ours_is_told(
    door: Door, names: SeriesNames, accept: str
) -> None:
    body = multipart([file_of(ct(names, 1))])
    assert request(door.port, body, headers={"Accept": accept}).status == 406
    assert held(door, names) == []


def test_the_answer_may_be_xml(door: Door, names: SeriesNames) -> None:
    body = multipart([file_of(ct(names, 1)), b"nonsense"])

    answer = request(door.port, body, headers={"Accept": f"{XML}, */*;q=0.1"})

    assert (answer.status, answer.headers["Content-Type"]) == (202, XML)
    space = {"": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
    root = ET.fromstring(answer.body)  # noqa: S314 - of our own making
    found = root.findall("./DicomAttribute[@tag='00081199']/Item", space)
    assert [item.get("number") for item in found] == ["1"]
    named = found[0].find("./DicomAttribute[@keyword='ReferencedSOPInstanceUID']/Value", space)
    assert named is not None
    assert named.text == names.instance(1)
    reason = root.find("./DicomAttribute[@tag='0008119A']/Item/DicomAttribute/Value", space)
    assert reason is not None
    assert reason.text == str(CANNOT_UNDERSTAND)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        f"--{BOUNDARY}--\r\n".encode(),
        f"--{BOUNDARY}\r\nX: {'x' * 20_000}".encode(),
        f"--{BOUNDARY}\r\n\r\n".encode() + file_of(ct(new_series(), 1)),
    ],
    ids=["empty", "text", "no part", "long header", "one part without end"],
)
def test_a_body_that_makes_no_sense_is_a_bad_request(door: Door, body: bytes) -> None:
    answer = request(door.port, body)
    assert answer.status == 400
    assert len(answer.body.split()) > 3
    assert door.left_in_spool() == []


def test_what_was_whole_before_the_body_ended_is_stored(door: Door, names: SeriesNames) -> None:
    body = multipart([file_of(ct(names, 1)), file_of(ct(names, 2))])

    answer = request(door.port, body[:-60])

    assert answer.status == 202
    assert answer.referenced == [names.instance(1)]
    assert answer.failed == [(names.instance(2), CANNOT_UNDERSTAND)]
    assert "ended before its closing boundary" in answer.headers["Warning"]
    assert held(door, names) == [sha256(ct(names, 1))]


def test_a_request_without_any_length_is_told(door: Door) -> None:
    with begin(door.port, b"", None) as connection:
        assert connection.recv(4000).startswith(b"HTTP/1.1 411 ")


def test_nothing_is_replaced_or_deleted(door: Door) -> None:
    for method in ("PUT", "DELETE"):
        assert request(door.port, b"", method=method).status == 405


def test_a_browser_gets_no_leave_to_send_from_another_site(door: Door, names: SeriesNames) -> None:
    """A page may send these content types elsewhere only after a preflight that allows it."""
    foreign = {"Origin": "https://site.example", "Access-Control-Request-Method": "POST"}
    preflight = request(door.port, b"", method="OPTIONS", headers=foreign)
    answer = request(door.port, multipart([file_of(ct(names, 1))]), headers=foreign)
    assert preflight.status == 405
    for one in (preflight, answer):
        assert not [name for name in one.headers if name.lower().startswith("access-control")]


# What the node cannot take at present


def test_less_space_than_the_reserve_is_told(tmp_path: Path, names: SeriesNames) -> None:
    with open_door(tmp_path, reserve_gb=10_000_000) as door:
        answer = store(door.port, [ct(names, 1), ct(names, 2)])
        refused = door.store.counters.all()["refused_store_full"]
    assert answer.status == 507
    assert [reason for _, reason in answer.failed] == [OUT_OF_RESOURCES] * 2
    assert refused == 2


def test_an_index_that_is_not_to_be_had_is_told(door: Door, names: SeriesNames) -> None:
    with door.store.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE studies RENAME TO lost")
    answer = store(door.port, [ct(names, 1)])
    with door.store.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE lost RENAME TO studies")
    assert answer.status == 503
    assert answer.failed == [(names.instance(1), OUT_OF_RESOURCES)]
    assert store(door.port, [ct(names, 1)]).status == 200


# Clients that go away or stall


def test_a_client_that_goes_away_leaves_nothing_behind(door: Door, names: SeriesNames) -> None:
    body = multipart([file_of(ct(names, 1)), file_of(ct(names, 2, size_bytes=300_000))])
    with begin(door.port, body[:200_000], len(body)):
        wait_until(lambda: held(door, names), "the first instance is kept", 10)
        wait_until(door.left_in_spool, "the second one arrives", 10)
    wait_until(lambda: not door.left_in_spool(), "the second one is gone", 10)
    assert held(door, names) == [sha256(ct(names, 1))]


def test_a_client_that_stalls_is_answered(tmp_path: Path, names: SeriesNames) -> None:
    body = multipart([file_of(ct(names, 1)), file_of(ct(names, 2))])
    with (
        open_door(tmp_path, idle_seconds=1) as door,
        begin(door.port, body[:-80], len(body)) as connection,
    ):
        answer = connection.recv(4000)
        assert answer.startswith(b"HTTP/1.1 202 ")
        assert b"no byte of the request came for 1 s" in answer
        assert held(door, names) == [sha256(ct(names, 1))]


# When series are complete


def because(door: Door, names: SeriesNames) -> str:
    return door.store.series.get(names.series_instance_uid).completed_because


def test_a_series_that_a_request_brought_whole_is_complete_at_once(
    door: Door, names: SeriesNames
) -> None:
    assert store(door.port, [ct(names, number) for number in (1, 2, 3)]).status == 200
    said = wait_until(lambda: because(door, names), "the series is complete", 1)
    assert said == "a finished store request (STOW-RS) brought all of its instances"
    assert door.store.series.get(names.series_instance_uid).revision == 1


def test_a_series_in_several_requests_waits_for_its_quiet_time(
    door: Door, names: SeriesNames
) -> None:
    for number in range(1, 4):
        assert store(door.port, [ct(names, number)]).status == 200
    with pytest.raises(AssertionError, match="not within"):
        wait_until(lambda: because(door, names), "the series is complete", 1)


@pytest.mark.parametrize("failing", [b"nonsense", None], ids=["a bad part", "no end"])
def test_a_series_that_may_miss_an_instance_waits_for_its_quiet_time(
    door: Door, names: SeriesNames, failing: bytes | None
) -> None:
    body = multipart([file_of(ct(names, 1)), failing or file_of(ct(names, 2))])
    assert request(door.port, body if failing else body[:-60]).status == 202
    with pytest.raises(AssertionError, match="not within"):
        wait_until(lambda: because(door, names), "the series is complete", 1)


# What is logged


def test_the_log_names_no_patient(door: Door, names: SeriesNames) -> None:
    with capture_logs() as entries:
        store(door.port, [ct(names, 1), renamed(ct(names, 2)), nameless(names)])
    text = str(entries)
    assert names.instance(2) in text
    assert PATIENT not in text
    assert PATIENT_ID not in text
    assert "20240131" not in text


def test_ten_thousand_parts_are_ten_thousand_answers(door: Door) -> None:
    with capture_logs() as entries:
        answer = request(door.port, multipart([b"nonsense"] * 10_000))
    assert answer.status == 409
    assert answer.others == [CANNOT_UNDERSTAND] * 10_000
    (entry,) = [one for one in entries if one["event"] == "store_request"]
    assert entry["failed"] == 10_000
    assert len(str(entry)) < 2_000
