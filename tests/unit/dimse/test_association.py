"""Messages of an accepted association: in flight together, broken off, and out of turn."""

import socket
import struct
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation
from structlog.testing import capture_logs

from gateway.dimse.association import Association
from gateway.dimse.connection import Connection
from gateway.dimse.message import Command
from gateway.dimse.negotiation import accept, read_request
from gateway.dimse.service import Exchange, PresentationContext, Primitive
from gateway.dimse.storage import IncomingInstance
from gateway.errors import PeerUnavailable
from tests.peers.processes import wait_until
from tests.peers.raw import Part10
from tests.peers.wire import (
    ABORT,
    ABORT_PDU,
    ECHO_CONTEXT,
    P_DATA,
    RELEASE_RQ_PDU,
    Wire,
    associate_request,
    c_echo,
    c_store,
    command_elements,
    command_set,
    p_data,
    us,
)
from tests.unit.dimse.receiving import STORAGE, Receiver, StartReceiver, item
from tests.unit.store.samples import SERIES, origin

ABORTED = bytes.fromhex("0000 02 06")


def several(number: int) -> AsynchronousOperationsWindowNegotiation:
    asked = AsynchronousOperationsWindowNegotiation()
    asked.maximum_number_operations_invoked = number
    asked.maximum_number_operations_performed = 1
    return asked


def answers(wire: Wire, number: int) -> list[tuple[int, int, str]]:
    """Return (message, status, instance) of responses in their order."""
    found = []
    for _ in range(number):
        said = wire.read()
        assert said.kind == P_DATA
        elements = command_elements(said.body[6:])
        (message,) = struct.unpack("<H", elements[0x0120])
        (status,) = struct.unpack("<H", elements[0x0900])
        found.append((message, status, elements[0x1000].decode().rstrip("\0")))
    return found


def with_big_private_element(one: Part10, length: int) -> Part10:
    """Put a private element of group 0009 before everything from (0010,0010) on."""
    creator = struct.pack("<HH2sH", 0x0009, 0x0010, b"LO", 4) + b"ACME"
    big = struct.pack("<HH2s2xI", 0x0009, 0x1001, b"OB", length) + bytes(length)
    place = one.data_set.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    content = one.data_set[:place] + creator + big + one.data_set[place:]
    return replace(one, data_set=content)


class TestStoresInFlight:
    def test_a_peer_that_agreed_on_eight_reads_no_answer_before_it_sent_eight(
        self, receiver: Receiver
    ) -> None:
        sent = [item(number) for number in range(1, 9)]
        with Wire(receiver.port) as wire:
            accepted = wire.associate([STORAGE], items=[several(8)])
            assert accepted.user_information is not None
            window = accepted.user_information.async_ops_window
            assert window is not None
            assert window.maximum_number_operations_invoked == 8
            numbers = range(101, 109)
            for number, one in zip(numbers, sent, strict=True):
                wire.send(wire.message(one, number))
            got = answers(wire, 8)
            wire.release()
        asked = zip(numbers, sent, strict=True)
        assert sorted(got) == [(number, 0x0000, one.sop_instance_uid) for number, one in asked]
        assert receiver.store.series.get(SERIES).instances == 8

    def test_each_has_its_own_answer_also_where_some_are_refused(self, receiver: Receiver) -> None:
        sent = [item(number) for number in range(1, 9)]
        for place in (2, 5):
            sent[place] = replace(sent[place], sop_instance_uid="2.25.77")
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE], items=[several(8)])
            wire.send(b"".join(wire.message(one, place) for place, one in enumerate(sent)))
            got = {message: status for message, status, _ in answers(wire, 8)}
            wire.release()
        assert got == {place: 0xA900 if place in (2, 5) else 0x0000 for place in range(8)}

    def test_many_more_than_were_agreed_on_are_held_back_and_answered(
        self, receiver: Receiver
    ) -> None:
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE], items=[several(2)])
            wire.send(b"".join(wire.message(item(number), number) for number in range(1, 41)))
            got = answers(wire, 40)
            wire.release()
        assert {message for message, status, _ in got if status == 0} == set(range(1, 41))

    def test_a_release_waits_for_the_answers(self, receiver: Receiver) -> None:
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE], items=[several(8)])
            messages = [wire.message(item(number), number) for number in range(1, 9)]
            wire.send(b"".join(messages) + RELEASE_RQ_PDU)
            assert sorted(message for message, _, _ in answers(wire, 8)) == list(range(1, 9))
            assert wire.read().kind == 6

    def test_without_an_agreement_answers_come_in_order(self, receiver: Receiver) -> None:
        with Wire(receiver.port) as wire:
            accepted = wire.associate([STORAGE])
            assert accepted.user_information is not None
            assert accepted.user_information.async_ops_window is None
            wire.send(b"".join(wire.message(item(number), number) for number in range(1, 9)))
            got = answers(wire, 8)
            wire.release()
        assert [(message, status) for message, status, _ in got] == [
            (number, 0x0000) for number in range(1, 9)
        ]

    def test_a_peer_that_goes_away_with_stores_in_flight_loses_nothing_it_sent(
        self, receiver: Receiver
    ) -> None:
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE], items=[several(8)])
            wire.send(b"".join(wire.message(item(number), number) for number in range(1, 9)))
            answers(wire, 1)
        wait_until(lambda: len(receiver.kept()) == 8, "all are kept", 10, 0.02)
        wait_until(lambda: not receiver.spooled(), "nothing is under way", 10, 0.02)

    def test_a_peer_whose_store_failed_unforeseen_does_not_wait_for_an_answer(
        self, receiver: Receiver
    ) -> None:
        class Broken(IncomingInstance):
            def keep(self) -> tuple[int, str]:
                self.discard()
                raise RuntimeError("nobody thought of this")

        def begin(context: PresentationContext, command: Command) -> IncomingInstance:
            return Broken(receiver.store, context, command, origin())

        asked = associate_request([STORAGE], items=[several(8)])[6:]
        acceptance = accept(read_request(memoryview(asked), "127.0.0.1"), [], 16)
        with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(2) as executor:
            wire = Wire(server.getsockname()[1])
            stream, _ = server.accept()
            with wire, stream, capture_logs() as lines:
                connection = Connection(stream, 20)
                association = Association(connection, acceptance, {}, begin, executor)
                sent = item()
                command = c_store(1, sent.sop_class_uid, sent.sop_instance_uid)
                wire.send(p_data(1, command, is_command=True) + p_data(1, sent.data_set))
                with pytest.raises(PeerUnavailable):
                    association.run()
                assert wire.read().kind == ABORT
        assert [line["event"] for line in lines] == ["store_broke"]


class TestDataSets:
    @pytest.mark.parametrize("length", [1 << 16, 200_000, 3_000_000])
    def test_attributes_that_stand_late_are_found(self, receiver: Receiver, length: int) -> None:
        late = with_big_private_element(item(), length)
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE])
            assert wire.store(late).status == 0x0000
            wire.release()
        assert receiver.kept() == [late.data_set]
        assert receiver.store.series.get(SERIES).instances == 1

    def test_fragments_of_any_length_are_one_data_set(self, receiver: Receiver) -> None:
        sent = item()
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE])
            command = c_store(1, sent.sop_class_uid, sent.sop_instance_uid)
            wire.send(p_data(1, command[:30], is_command=True, is_last=False))
            wire.send(p_data(1, command[30:], is_command=True))
            for place in range(len(sent.data_set)):
                wire.send(p_data(1, sent.data_set[place : place + 1], is_last=False))
            wire.send(p_data(1, b"", is_last=True))
            assert answers(wire, 1) == [(1, 0x0000, sent.sop_instance_uid)]
            wire.release()
        assert receiver.kept() == [sent.data_set]

    def test_command_and_data_may_share_a_pdu(self, receiver: Receiver) -> None:
        sent = item()
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE])
            command = p_data(1, c_store(1, *STORAGE[:1], sent.sop_instance_uid), is_command=True)
            together = command[6:] + p_data(1, sent.data_set)[6:]
            wire.send(struct.pack(">BxI", P_DATA, len(together)) + together)
            assert answers(wire, 1) == [(1, 0x0000, sent.sop_instance_uid)]
            wire.release()

    @pytest.mark.parametrize("farewell", [b"", ABORT_PDU, RELEASE_RQ_PDU, b"garbage, and more"])
    def test_one_that_is_broken_off_leaves_no_file(
        self, receiver: Receiver, farewell: bytes
    ) -> None:
        sent = replace(item(), data_set=item().data_set + bytes(500_000))
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE])
            command = c_store(1, sent.sop_class_uid, sent.sop_instance_uid)
            wire.send(p_data(1, command, is_command=True))
            wire.send(p_data(1, sent.data_set[:10_000], is_last=False))
            wait_until(receiver.spooled, "it is under way", 10, 0.02)
            wire.send(farewell)
        wait_until(lambda: not receiver.spooled(), "no file is left", 10, 0.02)
        assert receiver.store.series.all() == ()
        objects = receiver.settings.node.data_dir / "objects"
        assert not [path for path in objects.rglob("*") if path.is_file()]


class TestOutOfTurn:
    @pytest.mark.parametrize(
        "content",
        [
            p_data(1, b"data", is_command=False),
            p_data(99, c_echo(1), is_command=True),
            p_data(1, c_store(1, "1.2", "1.3"), is_command=True) * 2,
            p_data(1, command_set({0x0100: us(0x0001)}), is_command=True),
            p_data(1, b"\xff" * 40, is_command=True),
            p_data(1, bytes(70_000), is_command=True),
            struct.pack(">BxI", P_DATA, 0),
            struct.pack(">BxIIBB", P_DATA, 6, 400, 1, 3),
            struct.pack(">BxI", 2, 4) + bytes(4),
        ],
        ids=[
            "data-first",
            "context",
            "command-in-data",
            "no-message-id",
            "garbage",
            "long-command",
            "empty",
            "overlong-value",
            "accept-pdu",
        ],
    )
    def test_what_makes_no_sense_ends_the_association_in_one_line(
        self, receiver: Receiver, content: bytes
    ) -> None:
        with capture_logs() as lines, Wire(receiver.port) as wire:
            wire.associate([STORAGE, ECHO_CONTEXT])
            wire.send(content)
            said = wire.read()
            assert (said.kind, said.body) == (ABORT, ABORTED)
            assert wire.rest() == b""
        (line,) = (one for one in lines if one["event"] == "connection_aborted")
        assert line["log_level"] == "warning"
        assert not receiver.spooled()

    def test_a_request_on_a_storage_class_that_is_no_store_is_aborted(
        self, receiver: Receiver
    ) -> None:
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE])
            wire.send(p_data(1, c_echo(1), is_command=True))
            assert wire.read().kind == ABORT

    def test_answers_and_cancellations_of_nothing_are_passed_over(self, receiver: Receiver) -> None:
        with Wire(receiver.port) as wire:
            wire.associate([STORAGE, ECHO_CONTEXT])
            for command_field in (0x8001, 0x0FFF):
                stray = {0x0100: us(command_field), 0x0120: us(9), 0x0800: us(0x0101)}
                wire.send(p_data(1, command_set(stray), is_command=True))
            assert wire.echo() == 0x0000
            wire.release()


@dataclass
class Slow:
    """A service that looks for a cancellation until the peer has gone."""

    sop_classes: Sequence[str] = ("1.2.840.10008.5.1.4.1.2.2.1",)
    ended: threading.Event = field(default_factory=threading.Event)

    def serve(self, exchange: Exchange, request: Primitive) -> None:
        try:
            wait_until(exchange.is_cancelled, "cancelled", 20, 0.01)
        finally:
            self.ended.set()


class TestStoresDuringOtherRequests:
    QUERY = (Slow.sop_classes[0], "1.2.840.10008.1.2")

    def test_they_wait_for_their_turn(self, start: StartReceiver) -> None:
        receiver = start(services=[Slow()])
        with Wire(receiver.port) as wire:
            wire.associate([self.QUERY, STORAGE])
            wire.send(self.query(7) + wire.message(item(1), 8) + wire.message(item(2), 9))
            cancel = {0x0100: us(0x0FFF), 0x0120: us(7), 0x0800: us(0x0101)}
            wire.send(p_data(1, command_set(cancel), is_command=True))
            assert [(message, status) for message, status, _ in answers(wire, 2)] == [
                (8, 0x0000),
                (9, 0x0000),
            ]
            wire.release()

    def test_those_whose_turn_never_comes_leave_no_file_and_no_descriptor(
        self, start: StartReceiver
    ) -> None:
        slow = Slow()
        receiver = start(services=[slow])
        before = _opened_under(receiver.settings.node.data_dir / "spool")
        with Wire(receiver.port) as wire:
            wire.associate([self.QUERY, STORAGE])
            wire.send(self.query(7) + wire.message(item(1), 8) + wire.message(item(2), 9))
            wait_until(lambda: len(receiver.spooled()) == 2, "they wait", 10, 0.02)
        assert slow.ended.wait(10)
        wait_until(lambda: not receiver.spooled(), "no file is left", 5, 0.02)
        assert _opened_under(receiver.settings.node.data_dir / "spool") == before

    def query(self, message_id: int) -> bytes:
        elements = {
            0x0002: self.QUERY[0].encode() + b"\0" * (len(self.QUERY[0]) % 2),
            0x0100: us(0x0020),
            0x0110: us(message_id),
            0x0700: us(0),
            0x0800: us(0x0001),
        }
        command = p_data(1, command_set(elements), is_command=True)
        return command + p_data(1, b"\x08\x00\x52\x00\x06\x00\x00\x00STUDY ")


def _opened_under(folder: Path) -> set[str]:
    opened = {str(link.resolve()) for link in Path("/proc/self/fd").iterdir()}
    return {name for name in opened if name.startswith(str(folder))}
