"""What answers on the DICOM port: everything legal is kept, nothing else harms anybody."""

import socket
import struct
import threading
import time
from dataclasses import replace

import pytest
from pynetdicom import AE
from structlog.testing import capture_logs

from gateway.dimse.listener import reserve_port
from gateway.errors import StoreUnavailable
from gateway.settings import AllowedPeer
from gateway.store import SeriesState
from tests.peers import raw
from tests.peers.processes import wait_until
from tests.unit.dimse.receiving import VERIFICATION, Receiver, StartReceiver, item
from tests.unit.store.completing import complete
from tests.unit.store.samples import (
    BIG_ENDIAN,
    CT,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ODD_PRIVATE_ELEMENT,
    PATIENT,
    PATIENT_ID,
    SERIES,
    encoded,
)

A_ABORT_INVALID_PDU = bytes.fromhex("07000000000400000206")


def read_to_the_end(connection: socket.socket) -> bytes:
    """Return what the node sent until it closed; a reset ends it too."""
    content = bytearray()
    try:
        while part := connection.recv(4096):
            content += part
    except ConnectionResetError:
        pass
    return bytes(content)


class TestKeeping:
    def test_an_echo_is_answered(self, receiver: Receiver) -> None:
        with raw.association(receiver.port, [VERIFICATION]) as opened:
            assert opened.send_c_echo().Status == 0x0000

    @pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
    def test_bytes_are_kept_as_they_came(self, receiver: Receiver, syntax: str) -> None:
        sent = item(transfer_syntax_uid=syntax)

        (answer,) = raw.send(receiver.port, [sent])

        assert answer.status == 0x0000
        assert receiver.kept() == [sent.data_set]

    def test_bytes_that_break_the_standard_are_kept_as_they_came(self, receiver: Receiver) -> None:
        sent = replace(item(), data_set=item().data_set + ODD_PRIVATE_ELEMENT)

        (answer,) = raw.send(receiver.port, [sent])

        assert answer.status == 0x0000
        assert receiver.kept() == [sent.data_set]

    def test_a_private_class_in_a_private_transfer_syntax_is_accepted(
        self, receiver: Receiver
    ) -> None:
        private = "1.2.826.0.1.3680043.9.9999.7"
        sent = replace(item(sop_class_uid=private), transfer_syntax_uid=f"{private}.1")

        (answer,) = raw.send(receiver.port, [sent])

        assert answer.status == 0x0000
        (kept,) = receiver.store.instances.of_series(SERIES)
        assert (kept.sop_class_uid, kept.transfer_syntax_uid) == (private, f"{private}.1")

    def test_of_several_transfer_syntaxes_the_senders_first_is_taken(
        self, receiver: Receiver
    ) -> None:
        entity = AE(ae_title="MODALITY")
        jpeg_2000 = "1.2.840.10008.1.2.4.90"
        entity.add_requested_context(CT, [jpeg_2000, EXPLICIT, IMPLICIT])
        opened = entity.associate("127.0.0.1", receiver.port)
        try:
            (context,) = opened.accepted_contexts
            assert context.transfer_syntax == [jpeg_2000]
        finally:
            opened.release()

    def test_success_means_that_the_index_knows_it(self, receiver: Receiver) -> None:
        with raw.association(receiver.port, [(CT, EXPLICIT)]) as opened:
            for number in range(1, 4):
                assert raw.store(opened, item(number)).status == 0x0000
                assert receiver.store.series.get(SERIES).instances == number

    def test_an_association_holds_its_series_until_it_ends(self, receiver: Receiver) -> None:
        with raw.association(receiver.port, [(CT, EXPLICIT)]) as opened:
            raw.store(opened, item())
            assert complete(receiver.store) == 0
        wait_until(lambda: complete(receiver.store), "complete", 10, 0.05)

    def test_an_aborted_association_lets_its_series_go(self, receiver: Receiver) -> None:
        with raw.association(receiver.port, [(CT, EXPLICIT)]) as opened:
            raw.store(opened, item())
            opened.abort()
        wait_until(lambda: complete(receiver.store), "complete", 10, 0.05)

    def test_a_silent_association_is_given_up(self, start: StartReceiver) -> None:
        receiver = start(idle_seconds=1)
        with raw.association(receiver.port, [(CT, EXPLICIT)]) as opened:
            raw.store(opened, item())
            wait_until(lambda: complete(receiver.store), "complete", 10, 0.1)
            wait_until(lambda: not opened.is_established, "the peer heard of it", 10, 0.05)


class TestABusyIndex:
    def test_an_association_that_it_did_not_take_stores_as_soon_as_it_does(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def busy(*_: object, **__: object) -> None:
            raise StoreUnavailable("the index is busy")

        monkeypatch.setattr(type(receiver.store.associations), "opened", busy)
        contexts = [VERIFICATION, (CT, EXPLICIT)]
        with raw.association(receiver.port, contexts) as opened:
            assert opened.send_c_echo().Status == 0x0000
            assert raw.store(opened, item(1)).status == 0xA700
            monkeypatch.undo()
            assert raw.store(opened, item(1)).status == 0x0000
        assert len(receiver.kept()) == 1


class TestRefusing:
    def test_a_nameless_data_set_gets_c000_and_the_reason(self, receiver: Receiver) -> None:
        nameless = replace(item(), data_set=encoded(SOPInstanceUID="2.25.2.1", StudyInstanceUID=""))

        (answer,) = raw.send(receiver.port, [nameless])

        assert answer.status == 0xC000
        assert answer.comment == "Study Instance UID (0020,000D) is missing"
        (aside,) = (receiver.settings.node.data_dir / "quarantine").glob("*.bin")
        assert aside.read_bytes() == nameless.data_set

    def test_another_instance_than_the_command_names_gets_a900(self, receiver: Receiver) -> None:
        (answer,) = raw.send(receiver.port, [replace(item(), sop_instance_uid="2.25.77")])
        assert answer.status == 0xA900
        assert receiver.store.series.all() == ()

    def test_below_the_reserve_it_gets_a700(self, start: StartReceiver) -> None:
        full = start(reserve_gb=10_000_000)
        (answer,) = raw.send(full.port, [item()])
        assert answer.status == 0xA700
        assert "GB free" in answer.comment
        assert full.store.series.all() == ()

    def test_a_refused_instance_does_not_stop_those_after_it(self, receiver: Receiver) -> None:
        bad = replace(item(2), sop_instance_uid="2.25.77")
        answers = raw.send(receiver.port, [item(1), bad, item(3)])
        assert [one.status for one in answers] == [0x0000, 0xA900, 0x0000]
        assert receiver.store.series.get(SERIES).instances == 2

    def test_error_comments_fit_the_attribute(self, receiver: Receiver) -> None:
        answers = raw.send(receiver.port, [replace(item(), data_set=b"\xff" * 99)])
        assert len(answers[0].comment) <= 64

    def test_no_log_line_names_the_patient(self, receiver: Receiver) -> None:
        with capture_logs() as lines:
            raw.send(receiver.port, [item(), item(1, SeriesDescription="other")])
            raw.send(receiver.port, [replace(item(), data_set=encoded(StudyInstanceUID=""))])
            raw.send(receiver.port, [replace(item(), sop_instance_uid="2.25.77")])
        assert len(lines) >= 3
        assert PATIENT not in str(lines)
        assert PATIENT_ID not in str(lines)


class TestWhoIsLetIn:
    @pytest.mark.parametrize(
        "peer",
        [{"ae_title": "CT1"}, {"ae_title": "MODALITY", "host": "10.9.9.9"}],
        ids=["title", "host"],
    )
    def test_a_peer_that_is_not_allowed_is_rejected_with_the_reason(
        self, start: StartReceiver, peer: dict[str, str]
    ) -> None:
        receiver = start(allow=(AllowedPeer(**peer),))
        entity = AE(ae_title="MODALITY")
        entity.add_requested_context(*VERIFICATION)

        with capture_logs() as lines:
            for _ in range(3):
                answer = entity.associate("127.0.0.1", receiver.port)
                assert answer.is_rejected
                primitive = answer.acceptor.primitive
                assert primitive is not None
                assert (primitive.result, primitive.diagnostic) == (1, 3)
            # It is counted once the peer has its answer.
            counted = {"rejected_associations": 3}
            wait_until(lambda: receiver.store.counters.all() == counted, "counted", 10, 0.02)
            time.sleep(0.05)

        (line,) = (one for one in lines if one["event"] == "association_rejected")
        assert line["calling_ae"] == "MODALITY"

    @pytest.mark.parametrize(
        "peer", [{"ae_title": "MODALITY"}, {"ae_title": "MODALITY", "host": "127.0.0.1"}]
    )
    def test_a_peer_that_is_allowed_is_let_in(
        self, start: StartReceiver, peer: dict[str, str]
    ) -> None:
        receiver = start(allow=(AllowedPeer(ae_title="CT1"), AllowedPeer(**peer)))
        assert raw.send(receiver.port, [item()])[0].status == 0x0000

    def test_one_association_too_many_is_rejected_for_the_moment(
        self, start: StartReceiver
    ) -> None:
        receiver = start(maximum_associations=1)
        entity = AE(ae_title="MODALITY")
        entity.add_requested_context(*VERIFICATION)
        with raw.association(receiver.port, [VERIFICATION]) as first:
            second = entity.associate("127.0.0.1", receiver.port)
            assert second.is_rejected
            assert second.acceptor.primitive is not None
            assert second.acceptor.primitive.result == 2
            assert first.send_c_echo().Status == 0x0000


class TestHostileInput:
    def test_a_pdu_beyond_all_limits_is_aborted_at_once(self, receiver: Receiver) -> None:
        for kind in range(1, 8):
            with receiver.connect() as connection:
                connection.sendall(struct.pack(">BBI", kind, 0, 0xFFFFFFF0))
                assert read_to_the_end(connection) == A_ABORT_INVALID_PDU

    @pytest.mark.parametrize(
        "content",
        [
            b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
            bytes(4096),
            b"\xff" * 4096,
            b"\x01\x00\x00\x00\x00\x04abcd",
            b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",
            b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00",
        ],
        ids=["http", "tls", "zeros", "ones", "short-request", "data-first", "release-first"],
    )
    def test_garbage_closes_its_connection_and_no_other(
        self, receiver: Receiver, content: bytes
    ) -> None:
        with raw.association(receiver.port, [(CT, EXPLICIT)]) as bystander:
            assert raw.store(bystander, item(1)).status == 0x0000
            with receiver.connect() as connection:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                read_to_the_end(connection)
            assert raw.store(bystander, item(2)).status == 0x0000

    def test_health_probes_leave_nothing_behind(self, receiver: Receiver) -> None:
        before = threading.active_count()
        for _ in range(200):
            receiver.connect().close()
        wait_until(lambda: threading.active_count() <= before, "the threads end", 20, 0.05)
        assert raw.send(receiver.port, [item()])[0].status == 0x0000


class TestStopping:
    def test_an_open_association_may_finish(self, receiver: Receiver) -> None:
        with raw.association(receiver.port, [(CT, EXPLICIT)]) as opened:
            stopping = threading.Thread(target=receiver.stop, args=(20,))
            stopping.start()
            time.sleep(0.2)
            assert raw.store(opened, item()).status == 0x0000
        stopping.join(10)
        assert not stopping.is_alive()
        assert receiver.store.series.get(SERIES).instances == 1

    def test_what_does_not_finish_is_aborted_and_its_series_goes_on(
        self, receiver: Receiver
    ) -> None:
        with raw.association(receiver.port, [(CT, EXPLICIT)]) as opened:
            raw.store(opened, item())
            receiver.stop(0.1)
            wait_until(lambda: not opened.is_established, "aborted", 10, 0.05)
        wait_until(lambda: complete(receiver.store), "complete", 10, 0.05)
        assert receiver.store.series.get(SERIES).state is SeriesState.COMPLETE

    def test_nobody_is_let_in_any_more(self, receiver: Receiver) -> None:
        receiver.stop(0)
        with pytest.raises(ConnectionRefusedError):
            receiver.connect()


def test_receivers_share_a_port() -> None:
    with reserve_port("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with reserve_port("127.0.0.1", port) as second:
            assert second.getsockname()[1] == port
