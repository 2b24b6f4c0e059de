"""A full disk refuses, costs nothing that was promised, and works again once there is space."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.instances import CT_CONTEXT, SeriesNames, ct, new_series, sha256
from tests.peers.node import Node, Plan
from tests.peers.processes import wait_until
from tests.peers.raw import Part10, read_part10
from tests.peers.small_disk import SmallDisk
from tests.peers.vitals import complaints, of_role
from tests.peers.wire import ECHO_CONTEXT, Wire

pytestmark = pytest.mark.peers

MEGABYTE = 1_000_000
RESERVE_BYTES = 20 * MEGABYTE
INSTANCE_BYTES = 200_000
SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700

StartOnSmallDisk = Callable[[float], tuple[Node, SmallDisk]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartOnSmallDisk]:
    """Start a node whose data folder is a small disk, with a reserve in GB."""
    with ExitStack() as running:

        def starter(reserve_gb: float) -> tuple[Node, SmallDisk]:
            plan = Plan(rules={}, reserve_gb=reserve_gb, quiet_seconds=0.5)
            node = Node(tmp_path / "node", plan)
            disk = running.enter_context(SmallDisk(node.data_dir))
            return running.enter_context(node), disk

        yield starter


def test_nothing_is_taken_below_the_reserve_and_everything_again_above_it(
    start: StartOnSmallDisk,
) -> None:
    node, disk = start(RESERVE_BYTES / 10**9)
    disk.fill(leave_bytes=RESERVE_BYTES + 2 * MEGABYTE)
    names = new_series()

    promised, statuses = send_until_refused(node, names)

    assert set(statuses[len(promised) :]) == {OUT_OF_RESOURCES}
    assert 3 <= len(promised) <= 12
    assert disk.free_bytes > RESERVE_BYTES - MEGABYTE, "the reserve was not kept"
    assert_goes_on(node, disk, names, promised)


def test_a_disk_that_is_full_to_the_last_byte_refuses(start: StartOnSmallDisk) -> None:
    node, disk = start(0)
    receiver = of_role(node, "receiver")
    disk.fill(leave_bytes=2 * MEGABYTE)
    names = new_series()

    promised, statuses = send_until_refused(node, names, small_ones_too=True)

    assert set(statuses) <= {SUCCESS, OUT_OF_RESOURCES}
    assert promised
    disk.fill(leave_bytes=0)
    assert refusals(node, names) == [OUT_OF_RESOURCES] * 3
    assert echoes(node)
    assert_goes_on(node, disk, names, promised)
    assert of_role(node, "receiver") == receiver, "the receiver did not outlive it"
    assert_in_order(node)


def test_a_full_inode_table_refuses(start: StartOnSmallDisk) -> None:
    node, disk = start(0)
    disk.fill_inodes(leave=5)
    names = new_series()

    promised, statuses = send_until_refused(node, names)

    assert set(statuses[len(promised) :]) == {OUT_OF_RESOURCES}
    assert echoes(node)
    assert_goes_on(node, disk, names, promised)
    assert_in_order(node)


def send_until_refused(
    node: Node, names: SeriesNames, *, small_ones_too: bool = False
) -> tuple[list[Part10], list[int | None]]:
    """Send until three instances in a row are refused; return those promised, and all statuses."""
    promised: list[Part10] = []
    statuses: list[int | None] = []
    with Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        for number in range(1, 400):
            size_bytes = 2_000 if small_ones_too and number % 2 else INSTANCE_BYTES
            item = ct(names, number, size_bytes=size_bytes)
            statuses.append(wire.store(item).status)
            if statuses[-1] == SUCCESS:
                promised.append(item)
            if statuses[-3:] == [OUT_OF_RESOURCES] * 3:
                break
        wire.release()
    return promised, statuses


def refusals(node: Node, names: SeriesNames) -> list[int | None]:
    """Return the answers to three more instances."""
    with Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        return [wire.store(ct(names, number)).status for number in range(901, 904)]


def echoes(node: Node) -> bool:
    """Tell whether a new association gets an answer to its echo."""
    with Wire(node.dicom_port) as wire:
        wire.associate([ECHO_CONTEXT])
        return wire.echo() == SUCCESS


def assert_goes_on(node: Node, disk: SmallDisk, names: SeriesNames, promised: list[Part10]) -> None:
    """With space again, the node takes what it refused; all that it promised is there."""
    refused = ct(names, 999)
    disk.clear()
    wait_until(lambda: is_taken(node, refused), "there is space again", 30, 0.3, node.log)
    wanted = sorted(sha256(item) for item in [*promised, refused])

    def held() -> bool:
        files = node.wait_for(names.series_instance_uid)["files"]
        return sorted(file["sha256"] for file in files) == wanted

    wait_until(held, "every promised instance is indexed", 30, 0.5, node.log)
    for file in node.show(names.series_instance_uid)["files"]:
        assert sha256(read_part10(Path(file["path"]))) == file["sha256"]


def is_taken(node: Node, item: Part10) -> bool:
    """Send an instance on an association of its own."""
    try:
        with Wire(node.dicom_port) as wire:
            wire.associate([CT_CONTEXT])
            return wire.store(item).status == SUCCESS
    except OSError:
        return False


def assert_in_order(node: Node) -> None:
    """No process died of the full disk, and none wrote a traceback."""
    found = [line for line in complaints(node.log()) if "Traceback" in line or "ended" in line]
    assert not found, found[:5]
