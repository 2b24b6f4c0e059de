"""What bad input gets on the DICOM port of a running node."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom.association import Association

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series
from tests.conftest import StartNode
from tests.peers import raw
from tests.peers.dcmtk import echoscu, storescu
from tests.peers.node import Node, Plan
from tests.peers.raw import Part10, read_part10

pytestmark = pytest.mark.peers

VERIFICATION = ("1.2.840.10008.1.1", "1.2.840.10008.1.2")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that lets two peers in and does nothing with what it gets."""
    plan = Plan(
        rules={},
        allow=("MODALITY", "STORESCU"),
        quiet_seconds=0.5,
        longest_quiet_seconds=0.5,
        idle_seconds=3,
    )
    with Node(tmp_path_factory.mktemp("port") / "node", plan) as running:
        yield running


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three small slices of a phantom."""
    acquisition = Acquisition(rows=32, columns=40, slices=3, row_spacing_mm=3, column_spacing_mm=2)
    images = scan(Anatomy.asymmetric_object(), acquisition)
    return write_series(images, tmp_path_factory.mktemp("slices"))


def test_an_allowed_peer_gets_an_answer_to_its_echo(node: Node) -> None:
    said = echoscu(node.dicom_port, calling="MODALITY")

    assert said.status == 0, said.text


def test_a_peer_that_is_not_allowed_is_rejected(node: Node) -> None:
    said = echoscu(node.dicom_port, calling="STRANGER")

    assert said.status != 0
    assert "Calling AE Title Not Recognized" in said.text


def test_a_rejected_peer_is_logged_once_a_minute(node: Node) -> None:
    for _ in range(4):
        assert echoscu(node.dicom_port, calling="PERSISTENT").status != 0

    lines = [line for line in node.log().splitlines() if '"PERSISTENT"' in line]

    # The log goes to the output and to a file.
    assert 1 <= len(lines) <= 2


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"\x01\x00\xff\xff\xff\xff" + bytes(1000),
        b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",
        bytes(4096),
        b"\xff" * 4096,
    ],
    ids=["http", "tls", "endless-pdu", "data-before-association", "zeros", "ones"],
)
def test_garbage_closes_its_connection_and_no_other(node: Node, content: bytes) -> None:
    with raw.association(node.dicom_port, [VERIFICATION]) as bystander:
        with socket.create_connection(("127.0.0.1", node.dicom_port), timeout=10) as connection:
            connection.sendall(content)
            assert_closed(connection, bystander)
        assert bystander.send_c_echo().Status == 0x0000


def test_a_sender_that_vanishes_in_the_middle_harms_nobody(
    node: Node, slices: list[Path], tmp_path: Path
) -> None:
    item = raw.changed(
        slices[0],
        tmp_path / "vanishing.dcm",
        SeriesInstanceUID="2.25.1001",
        SOPInstanceUID="2.25.10011",
    )
    with raw.association(
        node.dicom_port, [(item.sop_class_uid, item.transfer_syntax_uid)]
    ) as opened:
        assert raw.store(opened, item).status == 0
        opened.abort()

    assert node.wait_for("2.25.1001")["instances"] == 1


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_data_set_without_a_name_goes_to_quarantine(
    node: Node, slices: list[Path], tmp_path: Path, keyword: str
) -> None:
    nameless = raw.changed(slices[0], tmp_path / "nameless.dcm", **{keyword: None})
    before = quarantined(node)

    (answer,) = raw.send(node.dicom_port, [nameless])

    assert answer.status == 0xC000
    assert "Instance UID" in answer.comment
    added = set(quarantined(node)) - set(before)
    assert nameless.data_set in {path.read_bytes() for path in added}
    assert any(b"Instance UID" in path.read_bytes() for path in added if path.suffix == ".json")


def test_bytes_that_are_no_data_set_go_to_quarantine(node: Node, slices: list[Path]) -> None:
    good = read_part10(slices[0])
    broken = Part10(
        sop_class_uid=good.sop_class_uid,
        sop_instance_uid="2.25.1002",
        transfer_syntax_uid=good.transfer_syntax_uid,
        data_set=b"this is not DICOM, whatever the sender says",
    )

    (answer,) = raw.send(node.dicom_port, [broken])

    assert answer.status == 0xC000
    assert broken.data_set in {path.read_bytes() for path in quarantined(node)}


def test_a_command_that_names_another_instance_is_refused(
    node: Node, slices: list[Path], tmp_path: Path
) -> None:
    item = raw.changed(slices[0], tmp_path / "other.dcm", SeriesInstanceUID="2.25.1003")
    lying = Part10(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid="2.25.10031",
        transfer_syntax_uid=item.transfer_syntax_uid,
        data_set=item.data_set,
    )

    (answer,) = raw.send(node.dicom_port, [lying])

    assert answer.status == 0xA900
    assert node.shown("2.25.1003") == {}


def test_the_same_instance_again_is_stored_once(node: Node, slices: list[Path]) -> None:
    series = raw.changed_uids(slices, "2.25.1004")
    assert [answer.status for answer in raw.send(node.dicom_port, series)] == [0, 0, 0]
    before = node.wait_for("2.25.1004")

    assert [answer.status for answer in raw.send(node.dicom_port, series)] == [0, 0, 0]

    after = node.wait_for("2.25.1004")
    assert after["files"] == before["files"]
    assert len({file["path"] for file in after["files"]}) == len(series)


def test_other_bytes_under_the_same_uid_are_kept_beside_the_first(
    node: Node, slices: list[Path], tmp_path: Path
) -> None:
    (item,) = raw.changed_uids(slices[:1], "2.25.1005")
    other = Part10(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
        data_set=item.data_set[:-2] + b"\x7f\x00",
    )
    assert raw.send(node.dicom_port, [item])[0].status == 0
    node.wait_for("2.25.1005")

    (answer,) = raw.send(node.dicom_port, [other])

    assert answer.status == 0
    shown = node.wait_for("2.25.1005", revision=2)
    assert shown["instances"] == 1
    kept = {read_part10(Path(file["path"])).data_set for file in shown["files"]}
    assert kept == {item.data_set, other.data_set}
    (current,) = (file for file in shown["files"] if file["current"])
    assert read_part10(Path(current["path"])).data_set == other.data_set
    assert "conflict" in node.run("series", "show", "2.25.1005").stdout
    assert "conflict" in node.metrics()


def test_uids_made_to_escape_a_folder_never_reach_the_file_system(
    node: Node, slices: list[Path]
) -> None:
    good = read_part10(slices[0])
    evil = Part10(
        sop_class_uid=good.sop_class_uid,
        sop_instance_uid=good.sop_instance_uid,
        transfer_syntax_uid=good.transfer_syntax_uid,
        data_set=good.data_set.replace(
            raw.series_uid(good).encode(), b"../../escaped".ljust(len(raw.series_uid(good)), b"/")
        ),
    )

    (answer,) = raw.send(node.dicom_port, [evil])

    assert answer.status == 0xC000
    assert not list(node.folder.parent.rglob("*escaped*"))


def test_below_the_reserve_nothing_is_taken(tmp_path: Path, slices: list[Path]) -> None:
    node = Node(tmp_path / "node", Plan(rules={}, reserve_gb=10_000_000))
    node.start(ready=503)
    try:
        (answer,) = raw.send(node.dicom_port, [read_part10(slices[0])])

        assert answer.status == 0xA700
        assert "free" in answer.comment
        assert node.series() == []
    finally:
        node.stop()


def test_several_receivers_share_the_port(start_node: StartNode, slices: list[Path]) -> None:
    node = start_node(Plan(rules={}, receivers=2, quiet_seconds=0.5))

    for _ in range(4):
        assert storescu(node.dicom_port, *slices).status == 0

    shown = node.wait_for(raw.series_uid(read_part10(slices[0])))
    assert shown["instances"] == len(slices)
    assert len([c for c in node.processes().values() if "--role receiver" in c]) == 2


def assert_closed(connection: socket.socket, bystander: Association) -> None:
    """Read until the peer closes, after an A-ABORT or not, while another peer goes on."""
    connection.settimeout(1)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        assert bystander.send_c_echo().Status == 0x0000
        try:
            if not connection.recv(4096):
                return
        except TimeoutError:
            continue
        except ConnectionResetError:
            return
    raise AssertionError("the node keeps a connection that speaks no DICOM")


def quarantined(node: Node) -> list[Path]:
    """Return the files in quarantine."""
    return sorted((node.data_dir / "quarantine").glob("*"))
