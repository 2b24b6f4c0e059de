"""Instances that come by STOW-RS, from clients that hospitals use."""

import hashlib
import json
import random
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread

from gateway.dicom.part10 import file_header
from gateway.testing.scanner import Plane
from tests.acceptance.conftest import MakePhantom
from tests.peers.instances import (
    CT,
    EXPLICIT,
    PATIENT_ID,
    SeriesNames,
    ct,
    header,
    new_series,
    sha256,
)
from tests.peers.node import Node, Peer, Plan
from tests.peers.orthanc import Orthanc
from tests.peers.processes import free_port, wait_until
from tests.peers.raw import read_part10
from tests.peers.small_disk import SmallDisk
from tests.peers.stow import BOUNDARY, MULTIPART, begin, file_of, multipart, request, store
from tests.peers.vitals import complaints, of_role, vitals

pytestmark = pytest.mark.peers

QUIET_SECONDS = 3600
MEGABYTE = 1_000_000
OUT_OF_RESOURCES = 0xA700
BY_DOOR = """\
rule: by-door
when: {source: stow}
then:
  - forward: {to: [away]}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that does not hold a series complete just since it is quiet."""
    plan = Plan(
        rules={"10-door.yaml": BY_DOOR},
        peers={"away": Peer(ae_title="AWAY", port=free_port())},
        quiet_seconds=QUIET_SECONDS,
    )
    with Node(tmp_path_factory.mktemp("stow") / "node", plan) as running:
        yield running


def digests(node: Node, names: SeriesNames) -> list[str]:
    files = node.shown(names.series_instance_uid).get("files", [])
    return sorted(file["sha256"] for file in files)


def test_curl_stores_a_study_that_is_complete_within_a_second(node: Node, tmp_path: Path) -> None:
    names = new_series()
    instances = [ct(names, number) for number in range(1, 21)]
    body = tmp_path / "body"
    body.write_bytes(multipart(map(file_of, instances)))

    said = curl(node, "/dicom-web/studies", body, MULTIPART)

    assert said["status"] == 200
    began = time.monotonic()
    shown = node.wait_for(names.series_instance_uid, states=["complete"], seconds=5)
    assert time.monotonic() - began < 2
    assert shown["completed_because"].startswith("a finished store request (STOW-RS)")
    assert (shown["source"], shown["revision"]) == ("stow", 1)
    assert digests(node, names) == sorted(sha256(item) for item in instances)
    decided = wait_until(lambda: node.shown(names.series_instance_uid)["decision"], "rules", 5)
    assert [rule["matched"] for rule in decided] == [True]


def test_curl_stores_a_single_file(node: Node, tmp_path: Path) -> None:
    names = new_series()
    file = tmp_path / "one.dcm"
    file.write_bytes(file_of(ct(names, 1)))

    said = curl(node, f"/dicom-web/studies/{names.study_instance_uid}", file, "application/dicom")

    assert said["status"] == 200
    assert digests(node, names) == [sha256(ct(names, 1))]


def curl(node: Node, path: str, body: Path, content_type: str) -> dict[str, int]:
    """POST a file as the README says."""
    done = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--output", "/dev/null"),
            *("--write-out", '{"status": %{http_code}}'),
            *("--header", f"Content-Type: {content_type}"),
            *("--header", "Accept: application/dicom+json"),
            *("--data-binary", f"@{body}", f"http://127.0.0.1:{node.web_port}{path}"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_dicomweb_client_stores_a_series(node: Node, make_phantom: MakePhantom) -> None:
    phantom = make_phantom(Plane.AXIAL, 31)
    client = DICOMwebClient(f"http://127.0.0.1:{node.web_port}/dicom-web")

    answer = client.store_instances(
        [dcmread(path) for path in phantom.paths], study_instance_uid=phantom.study_instance_uid
    )

    assert len(answer.ReferencedSOPSequence) == len(phantom.paths)
    assert "FailedSOPSequence" not in answer
    shown = node.wait_for(phantom.series_instance_uid, states=["complete"], seconds=5)
    assert shown["instances"] == len(phantom.paths)
    wanted = sorted(
        hashlib.sha256(read_part10(path).data_set).hexdigest() for path in phantom.paths
    )
    assert sorted(file["sha256"] for file in shown["files"]) == wanted


def data_sets(paths: Sequence[Path]) -> list[str]:
    return sorted(hashlib.sha256(read_part10(path).data_set).hexdigest() for path in paths)


def test_orthanc_sends_a_study(node: Node, pacs: Orthanc, make_phantom: MakePhantom) -> None:
    phantom = make_phantom(Plane.AXIAL, 32)
    pacs.know_web("gateway", node.web_port)
    study = {pacs.upload(path) for path in phantom.paths}.pop()

    pacs.stow_to("gateway", study)

    shown = node.wait_for(phantom.series_instance_uid, states=["complete"], seconds=5)
    assert sorted(file["sha256"] for file in shown["files"]) == data_sets(phantom.paths)
    assert shown["revision"] == 1


def test_a_series_in_several_requests_is_not_cut_into_revisions(node: Node) -> None:
    names = new_series()
    for first in range(1, 41, 10):
        instances = [ct(names, number, size_bytes=50_000) for number in range(first, first + 10)]
        assert store(node.web_port, instances).status == 200
    time.sleep(1)
    shown = node.shown(names.series_instance_uid)
    assert (shown["instances"], shown["state"], shown["revision"]) == (40, "receiving", 0)


def test_requests_beside_each_other(node: Node) -> None:
    series = [new_series() for _ in range(4)]

    def send(names: SeriesNames) -> int:
        instances = [ct(names, number, size_bytes=300_000) for number in range(1, 21)]
        return store(node.web_port, instances, study=names.study_instance_uid).status

    with ThreadPoolExecutor(4) as senders:
        assert list(senders.map(send, series)) == [200] * 4
    for names in series:
        shown = node.wait_for(names.series_instance_uid, states=["complete"], seconds=5)
        assert (shown["instances"], shown["revision"]) == (20, 1)


@pytest.mark.alone
def test_an_instance_larger_than_memory_is_never_held_in_it(node: Node) -> None:
    names = new_series()
    size_bytes = 200 * MEGABYTE
    (web,) = of_role(node, "web")
    assert store(node.web_port, [ct(names, 1)]).status == 200
    before_kb = vitals(web).resident_kb
    peak_kb = before_kb
    digest = hashlib.sha256()

    def watched() -> Iterator[bytes]:
        nonlocal peak_kb
        yield part_head(names.instance(2))
        for number, piece in enumerate(large_data_set(names, size_bytes)):
            digest.update(piece)
            yield piece
            if number % 8 == 0:
                peak_kb = max(peak_kb, vitals(web).resident_kb)
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    assert request(node.web_port, watched()).status == 200

    assert peak_kb - before_kb < 50_000, f"grew by {peak_kb - before_kb} kB"
    assert digest.hexdigest() in digests(node, names)


def part_head(sop_instance_uid: str) -> bytes:
    return f"--{BOUNDARY}\r\n\r\n".encode() + file_header(CT, sop_instance_uid, EXPLICIT)


def large_data_set(names: SeriesNames, size_bytes: int) -> Iterator[bytes]:
    """Give an instance by the megabyte."""
    yield header(names, names.instance(2), 2)
    yield struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", size_bytes)
    piece = random.Random(1).randbytes(MEGABYTE)
    for _ in range(size_bytes // MEGABYTE):
        yield piece


def test_clients_that_break_off_cost_nobody_else_anything(node: Node) -> None:
    names = new_series()
    instances = [ct(names, number, size_bytes=400_000) for number in (1, 2)]
    body = multipart(map(file_of, instances))
    for cut in (20, 500, 300_000, 600_000, len(body) - 3):
        begin(node.web_port, body[:cut], len(body)).close()
    for garbage in (b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", node.web_port), timeout=10) as connection:
            connection.sendall(garbage)

    assert store(node.web_port, instances).status == 200
    assert digests(node, names) == sorted(sha256(item) for item in instances)
    spool = node.data_dir / "spool" / "web"

    def is_clear() -> bool:
        return not [path for path in spool.iterdir() if path.stat().st_size]

    wait_until(is_clear, "nothing half-done is left", 10, 0.1, node.log)
    assert complaints(node.log()) == []


def test_the_log_names_no_patient(node: Node) -> None:
    log = node.log()
    assert "store_request" in log
    assert "Mustermann" not in log
    assert PATIENT_ID not in log


def test_a_series_is_not_complete_while_a_slow_request_brings_it(
    start_node: Callable[[Plan], Node],
) -> None:
    node = start_node(Plan(rules={}, quiet_seconds=0.3))
    names = new_series()
    states: list[str] = []

    def slowly() -> Iterator[bytes]:
        body = multipart([file_of(ct(names, number)) for number in (1, 2)])
        middle = body.rindex(f"--{BOUNDARY}\r\n".encode()) + 200
        yield body[:middle]
        wait_until(lambda: node.shown(names.series_instance_uid), "the first one is kept", 10)
        time.sleep(1.5)
        states.append(node.shown(names.series_instance_uid)["state"])
        yield body[middle:]

    assert request(node.web_port, slowly()).status == 200

    assert states == ["receiving"]
    shown = node.wait_for(names.series_instance_uid, states=["done"], seconds=5)
    assert (shown["instances"], shown["revision"]) == (2, 1)


def test_a_series_of_a_request_that_broke_off_is_left_to_the_quiet_time(
    start_node: Callable[[Plan], Node],
) -> None:
    node = start_node(Plan(rules={}, quiet_seconds=0.3))
    names = new_series()
    body = multipart([file_of(ct(names, number)) for number in (1, 2)])
    with begin(node.web_port, body[:-2000], len(body)):
        wait_until(lambda: node.shown(names.series_instance_uid), "the first one is kept", 10)

    shown = node.wait_for(names.series_instance_uid, states=["done"], seconds=30)

    assert shown["instances"] == 1
    assert "quiet" in shown["completed_because"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Node, SmallDisk]]:
    """A node whose data folder is a small disk, of which it leaves 20 MB free."""
    plan = Plan(rules={}, reserve_gb=20 * MEGABYTE / 10**9, quiet_seconds=1)
    with ExitStack() as running:
        node = Node(tmp_path / "node", plan)
        disk = running.enter_context(SmallDisk(node.data_dir))
        yield running.enter_context(node), disk


def test_a_full_disk_refuses_until_there_is_space(small: tuple[Node, SmallDisk]) -> None:
    node, disk = small
    names = new_series()
    instances = [ct(names, number, size_bytes=400_000) for number in range(1, 31)]
    disk.fill(leave_bytes=25 * MEGABYTE)

    some = store(node.web_port, instances)
    none = store(node.web_port, instances[-1:])

    assert some.status == 202
    assert {reason for _, reason in some.failed} == {OUT_OF_RESOURCES}
    assert 5 < len(some.referenced) < 20
    assert (none.status, len(none.failed)) == (507, 1)
    stored = [item for item in instances if item.sop_instance_uid in some.referenced]
    assert digests(node, names) == sorted(sha256(item) for item in stored)
    disk.clear()
    stored_uids = set(some.referenced)
    rest = [item for item in instances if item.sop_instance_uid not in stored_uids]
    assert store(node.web_port, rest).status == 200
    # It came in several requests: its completion is left to the quiet time.
    shown = node.wait_for(names.series_instance_uid, seconds=20)
    assert (shown["state"], shown["instances"], shown["revision"]) == ("done", 30, 1)
    assert "1 s of quiet" in shown["completed_because"]
    assert complaints(node.log()) == []


def test_what_is_acknowledged_outlives_a_kill(start_node: Callable[[Plan], Node]) -> None:
    node = start_node(Plan(rules={}))
    names = new_series()
    instances = [ct(names, number, size_bytes=100_000) for number in range(1, 21)]
    assert store(node.web_port, instances).status == 200
    node.kill_all()
    node.start()
    shown = node.wait_for(names.series_instance_uid, seconds=20)
    assert sorted(file["sha256"] for file in shown["files"]) == sorted(map(sha256, instances))
