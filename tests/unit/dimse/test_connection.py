"""PDUs in and out of one connection, however slowly, brokenly or rudely its peer behaves."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.dimse.connection import MAXIMUM_PDU_BYTES, P_DATA_TF, Connection
from gateway.errors import PeerUnavailable, ProtocolViolated
from tests.peers.wire import pdu

RELEASE = bytes.fromhex("05 00 00000004 00000000")
ABORT_BY_PROVIDER = bytes.fromhex("07 00 00000004 0000 02 00")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Connection]]:
    """A peer's socket, and the connection at the other end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname(), timeout=10)
        stream, _ = server.accept()
    with peer, stream:
        yield peer, Connection(stream, 0.3)


Ends = tuple[socket.socket, Connection]


class TestReading:
    def test_pdus_come_one_after_the_other(self, ends: Ends) -> None:
        peer, connection = ends
        peer.sendall(pdu(P_DATA_TF, b"first") + pdu(P_DATA_TF, b"second") + RELEASE)
        assert bytes(connection.read().body) == b"first"
        assert bytes(connection.read().body) == b"second"
        assert connection.read().type == 5

    def test_a_pdu_in_pieces_is_read_whole(self, ends: Ends) -> None:
        peer, connection = ends
        content = bytes(range(256)) * 4

        def in_pieces() -> None:
            for start in range(0, len(content) + 6, 100):
                peer.sendall(pdu(P_DATA_TF, content)[start : start + 100])
                time.sleep(0.005)

        sending = threading.Thread(target=in_pieces)
        sending.start()
        assert bytes(connection.read().body) == content
        sending.join()

    def test_a_pdu_longer_than_was_offered_is_still_read(self, ends: Ends) -> None:
        peer, connection = ends
        content = bytes(MAXIMUM_PDU_BYTES + 1000)
        sending = threading.Thread(target=peer.sendall, args=(pdu(P_DATA_TF, content),))
        sending.start()
        assert len(connection.read().body) == len(content)
        sending.join()

    @pytest.mark.parametrize("kind", [0, 8, 0x16, 0x47, 0xFF])
    def test_an_unknown_kind_is_refused_before_its_body_comes(self, ends: Ends, kind: int) -> None:
        peer, connection = ends
        peer.sendall(struct.pack(">BxI", kind, 100))
        with pytest.raises(ProtocolViolated, match=f"{kind:02X}H"):
            connection.read()

    def test_a_length_beyond_all_limits_is_refused_before_its_body_comes(self, ends: Ends) -> None:
        peer, connection = ends
        peer.sendall(struct.pack(">BxI", P_DATA_TF, (1 << 20) + 1))
        with pytest.raises(ProtocolViolated, match="1048577 bytes"):
            connection.read()


class TestGivingUp:
    def test_a_silent_peer_is_given_up(self, ends: Ends) -> None:
        began = time.monotonic()
        with pytest.raises(PeerUnavailable, match="silent"):
            ends[1].read()
        assert 0.25 < time.monotonic() - began < 2

    def test_the_first_pdu_may_have_a_time_of_its_own(self, ends: Ends) -> None:
        _, connection = ends
        connection.idle_seconds = 60
        with pytest.raises(PeerUnavailable, match="silent"):
            connection.read(within_seconds=0.1)

    def test_a_peer_that_drips_is_given_up_as_a_silent_one(self, ends: Ends) -> None:
        peer, connection = ends
        is_over = threading.Event()

        def drip() -> None:
            while not is_over.wait(0.05):
                peer.send(b"\x04")

        peer.sendall(struct.pack(">BxI", P_DATA_TF, 1000))
        dripping = threading.Thread(target=drip)
        dripping.start()
        began = time.monotonic()
        with pytest.raises(PeerUnavailable, match="silent"):
            connection.read()
        is_over.set()
        dripping.join()
        assert time.monotonic() - began < 2

    @pytest.mark.parametrize("sent", [b"", b"\x04\x00", pdu(P_DATA_TF, bytes(100))[:50]])
    def test_a_peer_that_closes_is_gone(self, ends: Ends, sent: bytes) -> None:
        peer, connection = ends
        peer.sendall(sent)
        peer.close()
        with pytest.raises(PeerUnavailable, match="closed"):
            connection.read()

    def test_a_peer_that_resets_is_gone(self, ends: Ends) -> None:
        peer, connection = ends
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(PeerUnavailable, match="ended"):
            connection.read()

    def test_a_peer_that_takes_nothing_is_given_up(self, ends: Ends) -> None:
        with pytest.raises(PeerUnavailable, match="took no answer"):
            ends[1].send(bytes(1 << 26))


class TestSending:
    def test_threads_do_not_mix_what_they_send(self, ends: Ends) -> None:
        peer, connection = ends
        peer.settimeout(10)
        pdus = [pdu(P_DATA_TF, bytes([number]) * 30_000) for number in range(1, 5)]

        def send_some(content: bytes) -> None:
            for _ in range(5):
                connection.send(content)

        sending = [threading.Thread(target=send_some, args=(one,)) for one in pdus]
        for thread in sending:
            thread.start()
        with peer.makefile("rb") as file:
            got = sorted(file.read(30_006) for _ in range(20))
        assert got == sorted(pdus * 5)
        for thread in sending:
            thread.join()

    def test_parts_go_together(self, ends: Ends) -> None:
        peer, connection = ends
        connection.send(b"one ", b"two")
        assert peer.recv(100) == b"one two"


class TestInput:
    def test_it_is_told_before_it_is_read(self, ends: Ends) -> None:
        peer, connection = ends
        assert not connection.has_input()
        peer.sendall(RELEASE)
        time.sleep(0.05)
        assert connection.has_input()
        connection.read()
        assert not connection.has_input()

    def test_an_end_is_input_too(self, ends: Ends) -> None:
        peer, connection = ends
        peer.close()
        time.sleep(0.05)
        assert connection.has_input()


class TestEnding:
    def test_an_interruption_wakes_the_reader_and_tells_the_peer(self, ends: Ends) -> None:
        peer, connection = ends
        connection.idle_seconds = 60
        threading.Timer(0.1, connection.interrupt).start()
        began = time.monotonic()
        with pytest.raises(PeerUnavailable):
            connection.read()
        assert time.monotonic() - began < 5
        assert peer.recv(100) == ABORT_BY_PROVIDER

    def test_what_was_sent_last_arrives_though_much_was_not_read(self, ends: Ends) -> None:
        peer, connection = ends
        peer.sendall(bytes(500_000))
        connection.send(RELEASE)
        closing = threading.Thread(target=connection.close)
        closing.start()
        assert peer.recv(100) == RELEASE
        peer.close()
        closing.join(5)
        assert not closing.is_alive()

    def test_a_peer_that_never_closes_is_left_after_a_moment(self, ends: Ends) -> None:
        _, connection = ends
        began = time.monotonic()
        connection.close()
        assert time.monotonic() - began < 5

    def test_an_abort_of_a_closed_connection_is_no_error(self, ends: Ends) -> None:
        _, connection = ends
        connection.close()
        connection.abort(2, 0)
        connection.interrupt()
