"""Whatever a peer sends, or fails to send: the others go on, and nothing of it stays."""

import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.peers.instances import (
    CT,
    CT_CONTEXT,
    PATIENT,
    PATIENT_ID,
    ct,
    new_series,
    sha256,
)
from tests.peers.mutations import CONTEXTS, conversations, data_sets, good_instance, messages
from tests.peers.node import Node, Plan
from tests.peers.processes import wait_until
from tests.peers.raw import Part10, read_part10
from tests.peers.vitals import Vitals, complaints, of_role, vitals
from tests.peers.wire import (
    ECHO_CONTEXT,
    Closed,
    Wire,
    associate_request,
    c_echo,
    c_store,
    p_data,
    pdu,
)

pytestmark = pytest.mark.peers

DEFLATED = "1.2.840.10008.1.2.1.99"
IDLE_SECONDS = 4
# Time to become an association, and then some for a busy machine.
GIVEN_UP_SECONDS = 40
GROWTH_KB = 24_000
CACHED_DESCRIPTORS = 12
"""Of connections to the index that a pool keeps."""
STATUSES = {0x0000, 0xA700, 0xA900, 0xC000, 0x0110, 0x0117, 0x0122, 0x0211, 0x0212}

same_every_time = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=300,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with one receiver, which has answered and kept something already."""
    plan = Plan(rules={}, quiet_seconds=0.5, longest_quiet_seconds=0.5, idle_seconds=IDLE_SECONDS)
    with Node(tmp_path_factory.mktemp("hostile") / "node", plan) as running:
        warm_up(running)
        yield running


@pytest.fixture(autouse=True)
def harmless(node: Node) -> Iterator[None]:
    """Whatever the test did, the same receiver goes on, as slim as before, without complaint."""
    (receiver,) = of_role(node, "receiver")
    before = vitals(receiver)
    said = set(complaints(node.log()))
    yield
    assert store_and_echo(node) == (0x0000, 0x0000)
    assert of_role(node, "receiver") == [receiver], "the receiver was restarted"
    wait_until(
        lambda: is_slim(receiver, before),
        "it lets go",
        30,
        0.5,
        lambda: f"{vitals(receiver)}, before: {before}",
    )
    assert [line for line in complaints(node.log()) if line not in said] == []
    assert PATIENT not in node.log()
    assert PATIENT_ID not in node.log()


@same_every_time
@given(content=conversations())
def test_broken_conversations_end_alone(node: Node, content: bytes) -> None:
    with Wire(node.dicom_port) as hostile:
        give(hostile, content)
        assert_closed(hostile)


@same_every_time
@given(content=messages())
def test_broken_messages_end_alone(node: Node, content: bytes) -> None:
    with Wire(node.dicom_port) as hostile:
        hostile.associate(CONTEXTS)
        give(hostile, content)
        assert_closed(hostile)


@same_every_time
@given(item=data_sets())
def test_broken_data_sets_get_a_status_and_the_next_is_taken(node: Node, item: Part10) -> None:
    with Wire(node.dicom_port) as hostile:
        hostile.associate(CONTEXTS)
        assert hostile.store(item).status in STATUSES
        assert hostile.echo() == 0x0000
        hostile.release()


@pytest.mark.parametrize(
    "name",
    ["2.25.\N{LATIN SMALL LETTER E WITH ACUTE}", "", "../../escaped", "2.25." + "6" * 90],
    ids=["not-ascii", "empty", "path", "long"],
)
def test_a_name_that_is_no_uid_is_refused(node: Node, name: str) -> None:
    with Wire(node.dicom_port) as hostile:
        hostile.associate(CONTEXTS)
        try:
            status = hostile.store(replace(good_instance(), sop_instance_uid=name)).status
        except Closed:
            return
        assert status in STATUSES - {0x0000}


def test_a_data_set_that_inflates_without_end_costs_no_memory(node: Node) -> None:
    (receiver,) = of_role(node, "receiver")
    good = good_instance()
    bomb = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    start = struct.pack("<HH2s2xI", 0x0009, 0x1001, b"OB", 0xFFFFFFF0)
    content = bomb.compress(start) + b"".join(bomb.compress(bytes(1 << 20)) for _ in range(400))
    item = replace(good, transfer_syntax_uid=DEFLATED, data_set=content + bomb.flush())

    with Wire(node.dicom_port) as hostile:
        hostile.associate([(CT, DEFLATED)])
        assert hostile.store(item).status in STATUSES

    assert most_resident_kb(receiver) < 250_000


def test_a_thousand_health_probes_leave_nothing_behind(node: Node) -> None:
    with Wire(node.dicom_port) as bystander:
        bystander.associate([ECHO_CONTEXT])
        for number in range(1000):
            socket.create_connection(("127.0.0.1", node.dicom_port), timeout=30).close()
            if number % 100 == 0:
                assert bystander.echo() == 0x0000
        bystander.release()


def test_probes_that_reset_their_connection_leave_nothing_behind(node: Node) -> None:
    for content in [b"", b"\x01", associate_request([ECHO_CONTEXT])] * 50:
        with socket.create_connection(("127.0.0.1", node.dicom_port), timeout=30) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            probe.sendall(content)


def test_stalled_peers_are_given_up_each_in_its_time(node: Node) -> None:
    """Some say nothing, some stop in the middle, some let each byte wait, some never read."""
    request = associate_request(CONTEXTS)
    silent = {
        "nothing": b"",
        "half a header": request[:3],
        "half a request": request[: len(request) // 2],
    }
    half = p_data(1, c_store(1, CT, "2.25.66.1.9"), is_command=True)
    opened = {
        "no message": b"",
        "half a command": half[:20],
        "a command without its data set": half,
        "half a data set": half + pdu(4, b"\0" * 500)[:100],
    }
    with ExitStack() as stack:
        stalled = {name: stack.enter_context(Wire(node.dicom_port)) for name in (*silent, *opened)}
        for name, content in silent.items():
            stalled[name].send(content)
        for name, content in opened.items():
            stalled[name].associate(CONTEXTS)
            stalled[name].send(content)
        dripping = stack.enter_context(Wire(node.dicom_port))
        drip(node, request, dripping, stalled)


def test_a_peer_that_never_reads_its_answers_holds_up_nobody(node: Node) -> None:
    flood = b"".join(p_data(3, c_echo(number), is_command=True) for number in range(1, 2000))
    with Wire(node.dicom_port) as deaf, Wire(node.dicom_port) as bystander:
        deaf.associate(CONTEXTS)
        bystander.associate([ECHO_CONTEXT])
        deaf.socket.settimeout(1)
        with suppress(OSError):
            for _ in range(100):
                deaf.send(flood)
                assert bystander.echo() == 0x0000
        for _ in range(2 * IDLE_SECONDS):
            assert bystander.echo() == 0x0000
            time.sleep(0.5)
        bystander.release()


def test_what_was_stored_before_is_still_there_after_all_of_it(node: Node) -> None:
    names = new_series()
    items = [ct(names, number) for number in range(1, 4)]
    with Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        assert [wire.store(item).status for item in items] == [0x0000] * 3
        with Wire(node.dicom_port) as hostile:
            hostile.associate(CONTEXTS)
            give(hostile, b"\xff" * 4096)
            assert_closed(hostile)
        wire.release()

    files = node.wait_for(names.series_instance_uid)["files"]

    assert sorted(file["sha256"] for file in files) == sorted(map(sha256, items))
    for file in files:
        assert sha256(read_part10(Path(file["path"]))) == file["sha256"]


def give(hostile: Wire, content: bytes) -> None:
    """Send everything, then close the sending side; the node may have closed before."""
    with suppress(OSError):
        hostile.send(content)
        hostile.socket.shutdown(socket.SHUT_WR)


def assert_closed(connection: Wire) -> None:
    """Read until the node closes; a connection that stays open raises a timeout."""
    connection.socket.settimeout(GIVEN_UP_SECONDS)
    connection.rest()


def drip(node: Node, request: bytes, dripping: Wire, stalled: dict[str, Wire]) -> None:
    """Send a request byte by byte until every peer is given up, this one too."""
    waiting = {**stalled, "a byte now and then": dripping}
    deadline = time.monotonic() + GIVEN_UP_SECONDS
    for wire in waiting.values():
        wire.socket.settimeout(0.01)
    place = 0
    with Wire(node.dicom_port) as bystander:
        bystander.associate([ECHO_CONTEXT])
        while waiting:
            assert time.monotonic() < deadline, f"still open: {sorted(waiting)}"
            if place < len(request):
                put(dripping, request[place : place + 1])
                place += 1
            assert bystander.echo() == 0x0000
            time.sleep(0.5)
            waiting = {name: wire for name, wire in waiting.items() if not is_closed(wire)}
        bystander.release()


def put(wire: Wire, content: bytes) -> None:
    """Send to a peer that may be gone."""
    with suppress(OSError):
        wire.send(content)


def is_closed(wire: Wire) -> bool:
    """Tell whether the node closed; an abort before that is read and thrown away."""
    try:
        while wire.socket.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def warm_up(node: Node) -> None:
    """Have the receiver load, open and cache all that it will, many at a time."""
    with ThreadPoolExecutor(16) as peers:
        assert set(peers.map(store_and_echo, [node] * 100)) == {(0x0000, 0x0000)}


def store_and_echo(node: Node) -> tuple[int | None, int]:
    """Store a canary and echo, on an association of its own."""
    with Wire(node.dicom_port) as canary:
        canary.associate(CONTEXTS)
        answer = canary.store(ct(new_series(), 1)).status, canary.echo()
        canary.release()
    return answer


def is_slim(pid: int, before: Vitals) -> bool:
    """Tell whether a process holds no more than before."""
    now = vitals(pid)
    has_grown = now.resident_kb > before.resident_kb + GROWTH_KB
    has_left_files = now.descriptors > before.descriptors + CACHED_DESCRIPTORS
    return not (has_grown or has_left_files or now.sockets > before.sockets)


def most_resident_kb(pid: int) -> int:
    """Return the most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])
