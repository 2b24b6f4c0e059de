"""How the node sends: unchanged, each instance with its own answer, whatever the peer does."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE, _config
from pynetdicom.association import Association

from gateway.dicom.part10 import file_header
from gateway.dimse.user import Outgoing, SendOutcome, SendResult, echo, outcome_of, send
from gateway.errors import PeerRefused, PeerUnavailable
from gateway.settings import DimseNode
from tests.unit.dimse.peer import StoringPeer
from tests.unit.store.samples import (
    BIG_ENDIAN,
    CT,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    MR,
    ODD_PRIVATE_ELEMENT,
    offer,
)

STORED, BUSY, REFUSED = SendOutcome.STORED, SendOutcome.BUSY, SendOutcome.REFUSED


def outgoing(
    folder: Path,
    number: int,
    *,
    sop_class_uid: str = CT,
    transfer_syntax_uid: str = EXPLICIT,
    tail: bytes = b"",
) -> Outgoing:
    one = offer(number, sop_class_uid=sop_class_uid, transfer_syntax_uid=transfer_syntax_uid)
    path = folder / f"{number}.dcm"
    header = file_header(sop_class_uid, one.sop_instance_uid, transfer_syntax_uid)
    path.write_bytes(header + one.data_set + tail)
    return Outgoing(
        path=path,
        sop_instance_uid=one.sop_instance_uid,
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=transfer_syntax_uid,
    )


def series(folder: Path, number: int) -> list[Outgoing]:
    return [outgoing(folder, one) for one in range(1, number + 1)]


def outcomes(results: tuple[SendResult, ...]) -> list[SendOutcome]:
    return [result.outcome for result in results]


def at(port: int) -> DimseNode:
    return DimseNode(kind="dimse", ae_title="PACS", host="127.0.0.1", port=port)


def test_a_series_is_stored_over_one_association(tmp_path: Path) -> None:
    seen: list[SendResult] = []
    with StoringPeer() as peer:
        results = send(peer.node, "GATEWAY", series(tmp_path, 20), seen.append)
        assert (len(peer.received), peer.associations) == (20, 1)

    assert outcomes(results) == [STORED] * 20
    assert tuple(seen) == results
    assert [one.sop_instance_uid for one in results] == [f"2.25.2.{n}" for n in range(1, 21)]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_bytes_go_unchanged_also_where_they_break_the_standard(tmp_path: Path, syntax: str) -> None:
    tail = ODD_PRIVATE_ELEMENT if syntax == EXPLICIT else b""
    one = outgoing(tmp_path, 1, transfer_syntax_uid=syntax, tail=tail)

    with StoringPeer(contexts=[(CT, syntax)]) as peer:
        assert outcomes(send(peer.node, "GATEWAY", [one])) == [STORED]

    sent = offer(1, transfer_syntax_uid=syntax).data_set + tail
    assert peer.received == {one.sop_instance_uid: sent}


def test_nothing_is_converted_to_please_a_peer(tmp_path: Path) -> None:
    """A peer without the instance's own transfer syntax refuses it."""
    one = outgoing(tmp_path, 1, transfer_syntax_uid=DEFLATED)
    with StoringPeer(contexts=[(CT, EXPLICIT), (CT, IMPLICIT)]) as peer:
        (result,) = send(peer.node, "GATEWAY", [one])
    assert result.outcome is REFUSED
    assert DEFLATED in result.detail


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, STORED),
        (0x0001, STORED),
        (0xB000, STORED),
        (0xB006, STORED),
        (0xB007, STORED),
        (0xBFFF, STORED),
        (0xA700, BUSY),
        (0xA7FF, BUSY),
        (0xA900, REFUSED),
        (0xA800, REFUSED),
        (0xC000, REFUSED),
        (0xCFFF, REFUSED),
        (0x0110, BUSY),
        (0x0111, STORED),
        (0x0122, REFUSED),
        (0x0124, REFUSED),
        (0xFE00, REFUSED),
        (0x0007, REFUSED),
    ],
)
def test_the_table_of_statuses(status: int, outcome: SendOutcome) -> None:
    assert outcome_of(status) is outcome


@pytest.mark.parametrize("status", [0x0000, 0xB006, 0xA700, 0xA900, 0xC123])
def test_a_status_has_the_same_meaning_on_the_wire(tmp_path: Path, status: int) -> None:
    with StoringPeer(answer=lambda _uid, _association: status) as peer:
        (result,) = send(peer.node, "GATEWAY", series(tmp_path, 1))
    assert result.outcome is outcome_of(status)
    assert result.detail == f"{status:04X}H"


def test_the_peers_comment_is_passed_on(tmp_path: Path) -> None:
    def full(_uid: str, _association: Association) -> Dataset:
        answer = Dataset()
        answer.Status = 0xA700
        answer.ErrorComment = "volume 7 is full"
        return answer

    with StoringPeer(answer=full) as peer:
        (result,) = send(peer.node, "GATEWAY", series(tmp_path, 1))
    assert result == SendResult(
        sop_instance_uid="2.25.2.1", outcome=BUSY, detail="A700H volume 7 is full"
    )


def test_an_instance_that_the_peer_refuses_does_not_stop_the_others(tmp_path: Path) -> None:
    def second_is_bad(uid: str, association: Association) -> int:
        return 0xA900 if uid == "2.25.2.2" else 0x0000

    with StoringPeer(answer=second_is_bad) as peer:
        results = send(peer.node, "GATEWAY", series(tmp_path, 4))
    assert outcomes(results) == [STORED, REFUSED, STORED, STORED]


def test_a_class_that_the_peer_does_not_take_does_not_stop_the_others(tmp_path: Path) -> None:
    mixed = [
        outgoing(tmp_path, 1),
        outgoing(tmp_path, 2, sop_class_uid=MR),
        outgoing(tmp_path, 3, transfer_syntax_uid=IMPLICIT),
        outgoing(tmp_path, 4),
    ]
    # A stricter peer than this process's own switch for unknown classes makes.
    with StoringPeer(contexts=[(CT, EXPLICIT), (MR, IMPLICIT)]) as peer:
        results = send(peer.node, "GATEWAY", mixed)
    assert outcomes(results) == [STORED, REFUSED, REFUSED, STORED]
    assert MR in results[1].detail
    assert IMPLICIT in results[2].detail


def test_more_classes_than_an_association_holds_take_several(tmp_path: Path) -> None:
    classes = [f"1.2.826.0.1.3680043.9.9999.{number}" for number in range(1, 261)]
    many = [outgoing(tmp_path, n, sop_class_uid=one) for n, one in enumerate(classes)]
    with StoringPeer() as peer:
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        results = send(peer.node, "GATEWAY", many)
        assert peer.associations == 3
    assert outcomes(results) == [STORED] * 260
    assert len(peer.received) == 260


@pytest.mark.timeout(10)
def test_when_the_peer_goes_away_the_rest_is_worth_another_attempt(tmp_path: Path) -> None:
    def gone_at_the_third(uid: str, association: Association) -> int:
        if uid == "2.25.2.3":
            association.abort()
        return 0x0000

    with StoringPeer(answer=gone_at_the_third) as peer:
        results = send(peer.node, "GATEWAY", series(tmp_path, 6))
    assert outcomes(results) == [STORED, STORED, BUSY, BUSY, BUSY, BUSY]
    assert all(result.detail for result in results)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("pause_seconds", [0.0, 0.02])
def test_a_peer_may_go_away_between_two_instances(tmp_path: Path, pause_seconds: float) -> None:
    def gone_after_the_second(uid: str, association: Association) -> int:
        if uid == "2.25.2.2":
            threading.Timer(pause_seconds, association.abort).start()
        return 0x0000

    with StoringPeer(answer=gone_after_the_second) as peer:
        results = send(peer.node, "GATEWAY", series(tmp_path, 200))
    assert len(results) == 200
    found = outcomes(results)
    assert found == sorted(found, key=[STORED, BUSY].index)


def test_a_peer_that_does_not_know_this_node_refuses_for_good(tmp_path: Path) -> None:
    entity = AE(ae_title="PACS")
    entity.require_calling_aet = ["SOMEBODY"]
    with StoringPeer(entity=entity) as peer:
        with pytest.raises(PeerRefused, match=r"PACS at 127\.0\.0\.1:\d+ rejected the association"):
            send(peer.node, "GATEWAY", series(tmp_path, 1))
        with pytest.raises(PeerRefused, match=r"(?i)calling AE title not recognised"):
            echo(peer.node, "GATEWAY")


def test_a_peer_with_too_many_associations_is_tried_again(tmp_path: Path) -> None:
    entity = AE(ae_title="PACS")
    entity.maximum_associations = 1
    other = AE()
    other.add_requested_context(CT, EXPLICIT)
    with StoringPeer(entity=entity) as peer:
        held = other.associate("127.0.0.1", peer.node.port)
        with pytest.raises(PeerUnavailable, match="rejected the association"):
            send(peer.node, "GATEWAY", series(tmp_path, 1))
        held.release()


def test_a_peer_that_is_off_is_tried_again(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(PeerUnavailable, match="does not answer; is its DICOM service running"):
            send(at(port), "GATEWAY", series(tmp_path, 1))
        with pytest.raises(PeerUnavailable, match="does not answer"):
            echo(at(port), "GATEWAY")


def test_a_peer_whose_name_does_not_resolve_is_tried_again() -> None:
    nowhere = DimseNode(kind="dimse", ae_title="PACS", host="no-such-host.invalid", port=104)
    with pytest.raises(PeerUnavailable, match=r"no-such-host\.invalid"):
        echo(nowhere, "GATEWAY")


@contextmanager
def saying(content: bytes) -> Iterator[DimseNode]:
    """Run a server that says something to everybody and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(content)

        thread = threading.Thread(target=answer)
        thread.start()
        yield at(server.getsockname()[1])
        thread.join()


@pytest.mark.parametrize(
    "content", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x02\x00\x00\x00\x00\x04abcd"]
)
def test_a_port_that_speaks_no_dicom_is_no_peer(content: bytes) -> None:
    with saying(content) as node, pytest.raises(PeerUnavailable):
        echo(node, "GATEWAY")


def test_an_echo_is_answered() -> None:
    with StoringPeer() as peer:
        echo(peer.node, "GATEWAY")


def test_a_peer_without_verification_says_so() -> None:
    with (
        StoringPeer(contexts=[(CT, EXPLICIT)]) as peer,
        pytest.raises(PeerRefused, match=r"accepts none of: class 1\.2\.840\.10008\.1\.1"),
    ):
        echo(peer.node, "GATEWAY")


def test_nothing_to_send_opens_no_association() -> None:
    with StoringPeer() as peer:
        assert send(peer.node, "GATEWAY", []) == ()
        assert peer.associations == 0
