"""What bad input gets, with DCMTK as the peer, and the status codes read off the wire."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series
from tests.peers import raw
from tests.peers.dcmtk import echoscu, storescu
from tests.peers.instances import CT_CONTEXT, ct, new_series
from tests.peers.node import Node, Plan
from tests.peers.raw import Part10, read_part10
from tests.peers.wire import ABORT, Closed, Wire, associate_request

pytestmark = pytest.mark.peers

SUCCESS = "(Success)"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that takes everything from anyone."""
    plan = Plan(rules={}, quiet_seconds=0.5, longest_quiet_seconds=0.5, idle_seconds=3)
    with Node(tmp_path_factory.mktemp("answers") / "node", plan) as running:
        yield running


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    """A series of its own: three small slices of a phantom."""
    acquisition = Acquisition(rows=32, columns=40, slices=3, row_spacing_mm=3, column_spacing_mm=2)
    folder = tmp_path / "slices"
    folder.mkdir()
    images = scan(Anatomy.asymmetric_object(), acquisition)
    series = new_series()
    paths = write_series(images, folder)
    for number, path in enumerate(paths, start=1):
        raw.changed(
            path,
            path,
            StudyInstanceUID=series.study_instance_uid,
            SeriesInstanceUID=series.series_instance_uid,
            SOPInstanceUID=series.instance(number),
        )
    return paths


def test_the_same_instances_again_get_success_and_are_kept_once(
    node: Node, slices: list[Path]
) -> None:
    said = [storescu(node.dicom_port, *slices), storescu(node.dicom_port, *slices)]

    assert [one.text.count(SUCCESS) for one in said] == [3, 3]
    shown = node.wait_for(raw.series_uid(read_part10(slices[0])))
    assert len(shown["files"]) == 3


def test_other_bytes_under_the_same_uid_get_success_and_both_are_kept(
    node: Node, slices: list[Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.dcm"
    raw.changed(slices[0], other, SeriesDescription="corrected")

    said = [storescu(node.dicom_port, path) for path in (slices[0], other)]

    assert [one.text.count(SUCCESS) for one in said] == [1, 1]
    files = node.wait_for(raw.series_uid(read_part10(other)))["files"]
    assert [file["current"] for file in files] == [False, True]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_nameless_data_set_gets_c000(
    node: Node, slices: list[Path], tmp_path: Path, keyword: str
) -> None:
    nameless = tmp_path / "nameless.dcm"
    raw.changed(slices[0], nameless, **{keyword: None})

    said = storescu(node.dicom_port, nameless, options=["-d"])

    assert "0xc000" in said.text.lower(), said.text
    assert "Instance UID" in said.text


def test_a_command_that_names_another_instance_gets_a900_on_the_wire(node: Node) -> None:
    item = ct(new_series(), 1)

    assert answer_to(node, replace(item, sop_instance_uid="2.25.66.77")) == 0xA900
    assert answer_to(node, item) == 0x0000


def test_below_the_reserve_it_gets_a700(tmp_path: Path, slices: list[Path]) -> None:
    node = Node(tmp_path / "node", Plan(rules={}, reserve_gb=10_000_000))
    node.start(ready=503)
    try:
        said = storescu(node.dicom_port, slices[0], options=["-d"])
    finally:
        node.stop()

    assert "0xa700" in said.text.lower(), said.text


def test_pixels_that_nobody_can_decode_are_kept_as_they_came(
    node: Node, slices: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.dcm"
    instance = dcmread(slices[0])
    instance.PixelData = instance.PixelData[:100]
    instance.BitsAllocated = 12
    instance.save_as(broken, enforce_file_format=True)

    said = storescu(node.dicom_port, broken)

    assert SUCCESS in said.text, said.text
    sent = read_part10(broken)
    (file,) = node.wait_for(raw.series_uid(sent))["files"]
    assert read_part10(Path(file["path"])).data_set == sent.data_set


def test_a_peer_from_another_host_is_rejected(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", Plan(rules={}, allow=("CT1",)))
    text = node.config.read_text(encoding="utf-8")
    listed = '{ ae_title = "CT1", host = "10.9.9.9" }, { ae_title = "CT2", host = "127.0.0.1" }'
    node.config.write_text(text.replace('{ ae_title = "CT1" }', listed), encoding="utf-8")
    with node:
        refused = echoscu(node.dicom_port, calling="CT1")
        taken = echoscu(node.dicom_port, calling="CT2")

    assert "Calling AE Title Not Recognized" in refused.text
    assert refused.status != 0
    assert taken.status == 0, taken.text


def test_a_peer_that_stalls_in_a_message_is_aborted(node: Node) -> None:
    item = ct(new_series(), 1)
    with Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        wire.send(wire.message(item, 1)[:-100])
        assert wire.read().kind == ABORT
        assert wire.rest() == b""


def test_a_pdu_beyond_its_limit_is_aborted(node: Node) -> None:
    with Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        wire.send(b"\x04\0" + (1 << 31).to_bytes(4, "big") + bytes(100))
        assert wire.read().kind == ABORT
        assert wire.rest() == b""


def test_a_called_title_in_any_spelling_of_a_request_gets_an_answer(node: Node) -> None:
    with Wire(node.dicom_port) as wire:
        wire.send(associate_request([CT_CONTEXT], called="NOBODY"))
        assert wire.read().kind in (2, 3)


def answer_to(node: Node, item: Part10) -> int | None:
    """Return the status that an instance gets."""
    with Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        try:
            return wire.store(item).status
        except Closed:
            return None
