"""A power cut costs nothing that was answered with Success: the order of the fsyncs is right."""

import os
import time
from pathlib import Path
from threading import Thread

import pytest

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series
from tests.conftest import StartNode
from tests.peers.dcmtk import storescu
from tests.peers.durability import faults
from tests.peers.instances import CT_CONTEXT, ct, new_series, sha256
from tests.peers.node import Node, Plan
from tests.peers.processes import wait_until
from tests.peers.raw import read_part10, series_uid
from tests.peers.trace import killed_at, parse, slowed, traced
from tests.peers.vitals import of_role
from tests.peers.wire import ECHO_CONTEXT, Wire

pytestmark = pytest.mark.peers

UID = "2.25.7.1"
OBJECT = Path("/data/objects/ab/abcd.dcm")
INDEX_LOG = Path("/data/index.sqlite-wal")

# One instance, kept in order by two threads, as strace writes it down.
SAFE = r"""
70 openat(AT_FDCWD</>, "/data/spool/5f", O_WRONLY|O_CREAT|O_EXCL, 0666) = 9</data/spool/5f>
70 write(9</data/spool/5f>, "\0\0\0DICM"..., 9000) = 9000
71 write(12</data/index.sqlite-wal>, "other row", 9) = 9
70 fsync(9</data/spool/5f> <unfinished ...>
71 fdatasync(12</data/index.sqlite-wal>) = 0
70 <... fsync resumed>) = 0
70 rename("/data/spool/5f", "/data/objects/ab/abcd.dcm") = 0
70 fsync(8</data/objects/ab>) = 0
71 pwrite64(12</data/index.sqlite-wal>, "\r\0002.25.7.1\0row", 4096, 32) = 4096
71 fdatasync(12</data/index.sqlite-wal>) = 0
70 sendto(7<TCP:[127.0.0.1:104->127.0.0.1:5]>, "\4\0\0\0\0\20\0022.25.7.1\0", 99, 0, NULL, 0) = 99
""".strip().splitlines()

# The same where the name under spool/ is durable, and goes when name and row of the object are,
# after the answer.
AHEAD = r"""
70 openat(AT_FDCWD</>, "/data/spool/5f", O_WRONLY|O_CREAT|O_EXCL, 0666) = 9</data/spool/5f>
70 fsync(6</data/spool>) = 0
70 openat(AT_FDCWD</>, "/data/spool/5f", O_RDWR) = 9</data/spool/5f>
70 write(9</data/spool/5f>, "\10\0\5\0"..., 9000) = 9000
70 pwrite64(9</data/spool/5f>, "\0\0\0DICM"..., 400, 0) = 400
70 fdatasync(9</data/spool/5f>) = 0
70 link("/data/spool/5f", "/data/objects/ab/abcd.dcm") = 0
70 pwrite64(12</data/index.sqlite-wal>, "\r\0002.25.7.1\0row", 4096, 32) = 4096
70 sendto(7<TCP:[127.0.0.1:104->127.0.0.1:5]>, "\4\0\0\0\0\20\0022.25.7.1\0", 99, 0, NULL, 0) = 99
71 fsync(8</data/objects/ab>) = 0
71 fdatasync(12</data/index.sqlite-wal>) = 0
71 unlink("/data/spool/5f") = 0
""".strip().splitlines()


@pytest.mark.parametrize("lines", [SAFE, AHEAD], ids=["in-place", "ahead"])
def test_the_order_of_a_durable_store_is_found_safe(lines: list[str]) -> None:
    assert found_in(lines) == []


@pytest.mark.parametrize(
    ("moved", "to"),
    [(11, 10), (11, 9), (11, 8), (1, 0), (1, 8)],
    ids=[
        "gone-before-the-index",
        "gone-before-the-name",
        "gone-before-the-answer",
        "fsynced-before-made",
        "fsynced-late",
    ],
)
def test_a_name_that_a_power_cut_takes_is_found(moved: int, to: int) -> None:
    lines = [*AHEAD]
    lines.insert(to, lines.pop(moved))
    found = found_in(lines)
    assert "the folder was not fsynced before the answer" in found
    assert "the index was not fsynced before the answer" in found


def test_a_name_that_is_never_durable_is_found() -> None:
    lines = [line for line in AHEAD if "fsync(6<" not in line and "fsync(8<" not in line]
    assert "the folder was not fsynced before the answer" in found_in(lines)


@pytest.mark.parametrize(
    ("to", "fault"),
    [
        (5, "the bytes were not fsynced before they had their name"),
        (11, "nothing was written before the object had its name"),
    ],
)
def test_a_header_that_comes_after_the_fsync_is_found(to: int, fault: str) -> None:
    lines = [*AHEAD]
    lines.insert(to, lines.pop(4))
    assert fault in found_in(lines)


@pytest.mark.parametrize(
    ("missing", "fault"),
    [
        ("write(9<", "nothing was written before the object had its name"),
        ("<... fsync resumed", "the bytes were not fsynced before they had their name"),
        ("rename(", "the object had no name when the instance was answered"),
        ("fsync(8<", "the folder was not fsynced before the answer"),
        ("pwrite64(", "the index has no row"),
        ("sendto(", "the instance was not answered"),
    ],
)
def test_a_missing_step_is_found(missing: str, fault: str) -> None:
    assert fault in found_in([line for line in SAFE if missing not in line])


def test_an_index_that_is_never_fsynced_is_found() -> None:
    assert found_in([*SAFE[:-2], SAFE[-1]]) == ["the index was not fsynced before the answer"]


@pytest.mark.parametrize(
    ("moved", "to", "fault"),
    [
        (7, 5, "the folder was not fsynced before the answer"),
        (8, 4, "the row was written before the object was safe"),
        (10, 9, "the index was not fsynced before the answer"),
        (10, 7, "the folder was not fsynced before the answer"),
        (1, 5, "the bytes were not fsynced before they had their name"),
    ],
    ids=["folder-before-name", "row-before-object", "answer-before-index", "early", "late-bytes"],
)
def test_a_step_at_the_wrong_place_is_found(moved: int, to: int, fault: str) -> None:
    lines = [*SAFE]
    lines.insert(to, lines.pop(moved))
    assert fault in found_in(lines)


@pytest.mark.parametrize("result", ["-1 EIO (Input/output error)", "?"])
def test_an_fsync_that_failed_is_none(result: str) -> None:
    failed = [line.replace(" = 0", f" = {result}") if "fsync(8<" in line else line for line in SAFE]
    assert "the folder was not fsynced before the answer" in found_in(failed)


def test_an_fsync_that_returns_after_the_answer_began_is_too_late() -> None:
    late = [
        *SAFE[:-2],
        "71 fdatasync(12</data/index.sqlite-wal> <unfinished ...>",
        SAFE[-1],
        "71 <... fdatasync resumed>) = 0",
    ]
    assert found_in(late) == ["the index was not fsynced before the answer"]


def test_every_instance_is_safe_before_its_success(start_node: StartNode, tmp_path: Path) -> None:
    node = start_node(Plan(rules={}, quiet_seconds=0.5))
    paths = phantom_slices(tmp_path / "slices")
    trace = tmp_path / "trace"

    with traced(sorted(node.processes()), trace):
        said = storescu(node.dicom_port, *paths)

    assert said.status == 0, said.text
    files = node.wait_for(series_uid(read_part10(paths[0])))["files"]
    assert len(files) == len(paths)
    calls = parse(trace.read_text(errors="replace"))
    index_log = node.data_dir / "index.sqlite-wal"
    found = {
        file["sop_instance_uid"]: faults(
            calls, file["sop_instance_uid"], Path(file["path"]), index_log
        )
        for file in files
    }
    assert not any(found.values()), found


def test_what_was_answered_is_there_after_a_power_cut_took_its_rows_and_names(
    start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node(Plan(rules={}, quiet_seconds=0.5))
    names = new_series()
    sent = [ct(names, number) for number in range(1, 6)]
    (receiver,) = of_role(node, "receiver")

    with Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        assert wire.store(ct(names, 99)).status == 0x0000
        wait_until(lambda: not lingering(node), "the first one is settled", 10, 0.01)
        durable = index_files(node)
        with killed_at(receiver, "fsync", when=1, output=tmp_path / "trace"):
            statuses = [wire.store(item).status for item in sent]
            wait_until(lambda: receiver not in node.processes(), "it settles, and is killed", 20)
    node.kill_all()
    assert statuses == [0x0000] * 5
    assert lose_names(node) == 5
    put_index_back(node, durable)

    node.start()

    shown = node.wait_for(series_uid(sent[0]))
    held = {file["sop_instance_uid"]: file["sha256"] for file in shown["files"]}
    assert held.keys() == {item.sop_instance_uid for item in [*sent, ct(names, 99)]}
    for item in sent:
        assert held[item.sop_instance_uid] == sha256(item)
    assert shown["calling_ae"] == "MODALITY"
    assert not lingering(node)


def test_folders_made_on_the_way_are_entered_durably(start_node: StartNode, tmp_path: Path) -> None:
    node = start_node(Plan(rules={}, quiet_seconds=0.5))
    names = new_series()
    trace = tmp_path / "trace"

    with traced(of_role(node, "receiver"), trace), Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        answers = [wire.store(ct(names, number)).status for number in range(1, 11)]

    assert answers == [0x0000] * 10
    calls = parse(trace.read_text(errors="replace"))
    made = [call for call in calls if call.name.startswith("mkdir") and call.has_succeeded]
    synced = {(call.target, call.ended) for call in calls if call.name == "fsync"}
    for call in made:
        parent = os.path.dirname(call.paths[-1])
        assert any(at == parent and when > call.ended for at, when in synced), call


@pytest.mark.alone
def test_a_slow_disk_holds_up_nobody_who_asks_for_something_else(
    start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node(Plan(rules={}, quiet_seconds=0.5))
    (receiver,) = of_role(node, "receiver")
    with Wire(node.dicom_port) as storing, Wire(node.dicom_port) as asking:
        storing.associate([CT_CONTEXT])
        asking.associate([ECHO_CONTEXT])
        with slowed(receiver, "fsync,fdatasync", microseconds=1_500_000, output=tmp_path / "trace"):
            took_seconds = slowest_echo_beside(storing, asking)
            assert new_association_echoes(node) == 0x0000

    assert took_seconds < 1.5, "an echo waited for somebody else's fsync"


def slowest_echo_beside(storing: Wire, asking: Wire) -> float:
    """Echo without pause while an instance is stored; return the longest wait in seconds."""
    answers: list[int | None] = []
    item = ct(new_series(), 1)
    store = Thread(target=lambda: answers.append(storing.store(item).status))
    store.start()
    waits = []
    while store.is_alive():
        begun = time.monotonic()
        assert asking.echo() == 0x0000
        waits.append(time.monotonic() - begun)
        time.sleep(0.05)
    assert answers == [0x0000]
    assert len(waits) > 10, "the disk was not slow"
    return max(waits)


def new_association_echoes(node: Node) -> int:
    """Return the status of an echo on an association opened now."""
    with Wire(node.dicom_port) as wire:
        wire.associate([ECHO_CONTEXT])
        return wire.echo()


def lingering(node: Node) -> list[Path]:
    """Return the names under spool/ of objects that have another."""
    spool = node.data_dir / "spool"
    return [path for path in spool.rglob("*") if path.is_file() and path.stat().st_nlink > 1]


def lose_names(node: Node) -> int:
    """Take from the objects the names that were not durable; return how many that were."""
    lost = 0
    for left in lingering(node):
        for path in (node.data_dir / "objects").rglob("*.dcm"):
            if path.samefile(left):
                path.unlink()
                lost += 1
    return lost


def index_files(node: Node) -> dict[Path, bytes]:
    """Return what the disk has of the index now."""
    database = node.data_dir / "index.sqlite"
    files = (database, database.with_name("index.sqlite-wal"))
    return {path: path.read_bytes() for path in files}


def put_index_back(node: Node, durable: dict[Path, bytes]) -> None:
    """Make the index what it was: all that was written since is lost."""
    for path, content in durable.items():
        path.write_bytes(content)
    (node.data_dir / "index.sqlite-shm").unlink(missing_ok=True)


def found_in(lines: list[str]) -> list[str]:
    """Return the faults of a written-down trace."""
    return faults(parse("\n".join(lines)), UID, OBJECT, INDEX_LOG)


def phantom_slices(folder: Path) -> list[Path]:
    """Write a few small slices of a phantom."""
    acquisition = Acquisition(rows=64, columns=64, slices=5, row_spacing_mm=3, column_spacing_mm=3)
    folder.mkdir()
    return write_series(scan(Anatomy.asymmetric_object(), acquisition), folder)
