"""Who may open an association, how many may be open, and what those turned away are told."""

import ipaddress
from typing import Any

import pytest
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from structlog.testing import capture_logs

from gateway.dimse.admission import Admission
from gateway.dimse.service import Peer
from gateway.settings import AllowedPeer, DimseSettings
from gateway.store import NodeStore
from tests.peers.processes import wait_until
from tests.peers.wire import ASSOCIATE_AC, ASSOCIATE_RJ, ECHO_CONTEXT, Wire, associate_request
from tests.unit.dimse.receiving import Receiver, StartReceiver

LIMIT_EXCEEDED = (2, 3, 2)
"""Transient, by the presentation provider: local limit exceeded (PS3.8 table 9-21)."""
CALLING_TITLE_UNKNOWN, CALLED_TITLE_UNKNOWN = (1, 1, 3), (1, 1, 7)
"""For good, by the service user: AE title not recognised."""


def asked(
    receiver: Receiver, *, calling: str = "MODALITY", called: str = "GATEWAY"
) -> tuple[int, int, int] | None:
    """Ask for an association and give it up; return a rejection's (result, source, reason)."""
    with Wire(receiver.port) as wire:
        wire.send(associate_request([ECHO_CONTEXT], calling=calling, called=called))
        answer = wire.read()
        if answer.kind == ASSOCIATE_RJ:
            return answer.body[1], answer.body[2], answer.body[3]
        assert answer.kind == ASSOCIATE_AC
        return None


def opened(receiver: Receiver, *, calling: str = "MODALITY") -> Wire:
    wire = Wire(receiver.port)
    wire.associate([ECHO_CONTEXT], calling=calling)
    return wire


class TestHowMany:
    def test_one_more_than_the_node_may_have_is_turned_away_for_the_moment(
        self, start: StartReceiver
    ) -> None:
        receiver = start(maximum_associations=3)
        with opened(receiver), opened(receiver, calling="CT2"), opened(receiver, calling="CT3"):
            assert asked(receiver, calling="CT4") == LIMIT_EXCEEDED
        wait_until(lambda: asked(receiver, calling="CT4") is None, "let in", 10, 0.05)

    def test_receivers_of_one_node_count_together(self, start: StartReceiver) -> None:
        first = start(maximum_associations=2)
        second = start(maximum_associations=2, name="receiver-1")
        with opened(first), opened(second):
            assert asked(first) == asked(second) == LIMIT_EXCEEDED
        wait_until(lambda: asked(second) is None, "let in", 10, 0.05)

    def test_one_more_than_a_peer_may_have_is_turned_away_and_others_are_not(
        self, start: StartReceiver
    ) -> None:
        receiver = start(maximum_associations_per_peer=2)
        with opened(receiver, calling="CT1"), opened(receiver, calling="CT1"):
            assert asked(receiver, calling="CT1") == LIMIT_EXCEEDED
            assert asked(receiver, calling="CT2") is None

    def test_a_peer_counts_over_all_receivers(self, start: StartReceiver) -> None:
        first = start(maximum_associations_per_peer=1)
        second = start(maximum_associations_per_peer=1, name="receiver-1")
        with opened(first, calling="CT1"):
            assert asked(second, calling="CT1") == LIMIT_EXCEEDED

    def test_those_turned_away_take_no_room(self, start: StartReceiver) -> None:
        receiver = start(maximum_associations=1)
        with opened(receiver):
            assert {asked(receiver) for _ in range(5)} == {LIMIT_EXCEEDED}
        wait_until(lambda: asked(receiver) is None, "let in", 10, 0.05)

    def test_what_a_killed_receiver_had_open_takes_no_room_after_its_start(
        self, start: StartReceiver
    ) -> None:
        receiver = start(maximum_associations=1)
        with opened(receiver):
            receiver.store.associations.lost("receiver-0")
            assert asked(receiver) is None


class TestWhoIsCalled:
    @pytest.mark.parametrize("called", ["GATEWAY", "SEGMENTER"])
    def test_a_title_of_the_list_is_answered_to(self, start: StartReceiver, called: str) -> None:
        receiver = start(called_ae_titles=("GATEWAY", "SEGMENTER"))
        assert asked(receiver, called=called) is None

    @pytest.mark.parametrize("called", ["ANY-SCP", "gateway", "GATEWAY2"])
    def test_another_title_is_not(self, start: StartReceiver, called: str) -> None:
        receiver = start(called_ae_titles=("GATEWAY", "SEGMENTER"))
        assert asked(receiver, called=called) == CALLED_TITLE_UNKNOWN

    def test_without_a_list_every_title_is(self, receiver: Receiver) -> None:
        assert asked(receiver, called="ANY-SCP") is None


class TestWhoCalls:
    @pytest.mark.parametrize(
        "host", [None, "127.0.0.1", "127.0.0.0/8", "127.0.0.1/32", "localhost"]
    )
    def test_a_peer_of_the_list_is_let_in(self, start: StartReceiver, host: str | None) -> None:
        receiver = start(allow=(AllowedPeer(ae_title="CT1", host=host),))
        assert asked(receiver, calling="CT1") is None
        assert asked(receiver, calling="CT2") == CALLING_TITLE_UNKNOWN

    @pytest.mark.parametrize("host", ["10.0.0.7", "10.0.0.0/8", "no-such-host.invalid", "::1"])
    def test_the_right_title_from_another_host_is_not(
        self, start: StartReceiver, host: str
    ) -> None:
        receiver = start(allow=(AllowedPeer(ae_title="CT1", host=host),))
        assert asked(receiver, calling="CT1") == CALLING_TITLE_UNKNOWN


class TestUserIdentity:
    @pytest.mark.parametrize("wants_response", [False, True], ids=["silent", "response"])
    def test_who_brings_a_name_and_a_passcode_is_let_in_without_them(
        self, receiver: Receiver, wants_response: bool
    ) -> None:
        identity = UserIdentityNegotiation()
        identity.user_identity_type = 2
        identity.primary_field, identity.secondary_field = b"operator", b"passcode"
        identity.positive_response_requested = wants_response
        with capture_logs() as lines, Wire(receiver.port) as wire:
            accepted = wire.associate([ECHO_CONTEXT], items=[identity])
            assert accepted.user_information is not None
            assert accepted.user_information.user_identity is None
            assert wire.echo() == 0x0000
            wire.release()
        assert "passcode" not in str(lines)


class TestLog:
    @staticmethod
    def refused(store: NodeStore, peers: list[Peer], **settings: Any) -> list[Any]:
        admission = Admission(DimseSettings(**settings), store.counters)
        with capture_logs() as lines:
            for peer in peers:
                assert admission.refusal(peer) is not None
        return lines

    def test_each_peer_is_told_of_once_and_counted_always(self, receiver: Receiver) -> None:
        peers = [Peer(calling_ae=f"CT{n}", called_ae="GATEWAY", host="10.0.0.1") for n in (1, 2)]
        allow = (AllowedPeer(ae_title="OTHER"),)
        lines = self.refused(receiver.store, peers * 5, allow=allow)
        assert [line["calling_ae"] for line in lines] == ["CT1", "CT2"]
        assert receiver.store.counters.all() == {"rejected_associations": 10}

    def test_the_line_says_what_to_do(self, receiver: Receiver) -> None:
        peer = Peer(calling_ae="CT1", called_ae="WRONG", host="10.0.0.1")
        (line,) = self.refused(receiver.store, [peer], called_ae_titles=("GATEWAY",))
        assert line["action"] == "the peer calls another AE title; see dimse.called_ae_titles"
        assert line["called_ae"] == "WRONG"
        assert ipaddress.ip_address(line["host"])
