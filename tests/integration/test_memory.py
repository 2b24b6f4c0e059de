"""An object larger than any memory it may take."""

import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.instances import element, header, new_series
from tests.peers.node import Node, Plan
from tests.peers.vitals import of_role
from tests.peers.wire import P_DATA, Wire, c_store, p_data, uid

MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.2.1"
"""Enhanced CT Image Storage."""
EXPLICIT = "1.2.840.10008.1.2.1"
FRAME_BYTES = 1024 * 1024 * 2
FRAMES = 2047
"""As many as one Pixel Data element can hold."""
MOST_RECEIVER_BYTES = 250 * 10**6
FRAGMENT_BYTES = 130_000


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node", Plan(rules={}, quiet_seconds=0.5)) as running:
        yield running
    # What is kept here is too large to wait for pytest's own cleaning.
    shutil.rmtree(running.data_dir)


@pytest.mark.alone
@pytest.mark.timeout(300)
def test_four_gigabytes_in_one_object_are_stored_within_the_receivers_memory(
    node: Node, tmp_path: Path
) -> None:
    names = new_series()
    sop_instance_uid = names.instance(1)
    head = _multi_frame(header(names, sop_instance_uid, 1))
    pixels_bytes = FRAMES * FRAME_BYTES
    head += struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", pixels_bytes)
    sparse = tmp_path / "pixels"
    with sparse.open("wb") as file:
        file.truncate(pixels_bytes)

    with Wire(node.dicom_port, timeout=120) as wire, sparse.open("rb") as file:
        wire.associate([(MULTI_FRAME, EXPLICIT)])
        wire.send(p_data(1, c_store(1, MULTI_FRAME, sop_instance_uid), is_command=True))
        wire.send(p_data(1, head, is_last=False))
        for offset in range(0, pixels_bytes, FRAGMENT_BYTES):
            count = min(FRAGMENT_BYTES, pixels_bytes - offset)
            is_last = offset + count == pixels_bytes
            _send_fragment(wire.socket, file.fileno(), offset, count, is_last=is_last)
        response = wire.read()
        assert response.kind == P_DATA
        assert struct.pack("<HHIH", 0, 0x0900, 2, 0x0000) in response.body
        wire.release()

    for pid in of_role(node, "receiver"):
        assert _peak_bytes(pid) < MOST_RECEIVER_BYTES
    (kept,) = (node.data_dir / "objects").rglob("*.dcm")
    assert kept.stat().st_size >= len(head) + pixels_bytes
    assert node.show(names.series_instance_uid)["instances"] == 1


def _multi_frame(content: bytes) -> bytes:
    """Make a small CT's header one of a multi-frame object."""
    ct = element(0x0008, 0x0016, b"UI", uid("1.2.840.10008.5.1.4.1.1.2"))
    assert ct in content
    content = content.replace(ct, element(0x0008, 0x0016, b"UI", uid(MULTI_FRAME)))
    return content + b"".join(
        [
            element(0x0028, 0x0008, b"IS", str(FRAMES).encode()),
            element(0x0028, 0x0010, b"US", struct.pack("<H", 1024)),
            element(0x0028, 0x0011, b"US", struct.pack("<H", 1024)),
            element(0x0028, 0x0100, b"US", struct.pack("<H", 16)),
        ]
    )


def _send_fragment(
    connection: socket.socket, source: int, offset: int, count: int, *, is_last: bool
) -> None:
    """Send a fragment from a file without a copy of it here."""
    length = count + 2
    control = 0x02 if is_last else 0x00
    head = struct.pack(">BBIIBB", P_DATA, 0, length + 4, length, 1, control)
    connection.sendall(head, socket.MSG_MORE)
    with open(source, "rb", closefd=False) as file:
        connection.sendfile(file, offset, count)


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
