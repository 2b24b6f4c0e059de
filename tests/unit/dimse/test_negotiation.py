"""What is agreed on when a peer opens an association, and what is no request at all."""

import struct
from collections.abc import Sequence
from contextlib import suppress

import pytest
from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SCP_SCU_RoleSelectionNegotiation,
    UserIdentityNegotiation,
)

from gateway.dimse.connection import MAXIMUM_PDU_BYTES, MOST_IN_FLIGHT
from gateway.dimse.negotiation import Acceptance, accept, read_request, rejection
from gateway.errors import ProtocolViolated
from tests.peers.wire import Context, UserInformation, associate_request
from tests.unit.store.samples import CT, EXPLICIT, IMPLICIT

VERIFICATION = "1.2.840.10008.1.1"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PRIVATE = "1.2.826.0.1.3680043.9.9999.7"
HEADER_BYTES = 6


def window_of(invoked: int, performed: int = 1) -> AsynchronousOperationsWindowNegotiation:
    item = AsynchronousOperationsWindowNegotiation()
    item.maximum_number_operations_invoked = invoked
    item.maximum_number_operations_performed = performed
    return item


def identity(kind: int, primary: bytes, *, secondary: bytes = b"") -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type = kind
    item.primary_field = primary
    if secondary:
        item.secondary_field = secondary
    return item


def agreed(
    contexts: Sequence[Context] = ((CT, EXPLICIT),),
    *items: UserInformation,
    sop_classes: Sequence[str] = (VERIFICATION,),
    most_in_flight: int = MOST_IN_FLIGHT,
) -> Acceptance:
    asked = associate_request(contexts, items=items)[HEADER_BYTES:]
    return accept(read_request(memoryview(asked), "10.0.0.1"), sop_classes, most_in_flight)


def said(acceptance: Acceptance) -> A_ASSOCIATE_AC:
    """Read the answer as a peer does."""
    answer = A_ASSOCIATE_AC()
    answer.decode(acceptance.answer)
    return answer


def window_said(acceptance: Acceptance) -> tuple[int | None, int | None] | None:
    """Return the operations that the answer lets the peer invoke, and those it may be asked."""
    user = said(acceptance).user_information
    assert user is not None
    item = user.async_ops_window
    if item is None:
        return None
    return item.maximum_number_operations_invoked, item.maximum_number_operations_performed


class TestContexts:
    @pytest.mark.parametrize("sop_class", [CT, PRIVATE], ids=["standard", "private"])
    def test_every_class_that_may_be_storage_is_accepted(self, sop_class: str) -> None:
        (context,) = agreed([(sop_class, EXPLICIT)]).contexts.values()
        assert (context.abstract_syntax, context.transfer_syntax) == (sop_class, EXPLICIT)

    def test_a_class_of_a_service_that_is_served_is_accepted(self) -> None:
        served = agreed([(FIND, IMPLICIT)], sop_classes=[FIND])
        assert [one.abstract_syntax for one in served.contexts.values()] == [FIND]

    def test_each_context_is_answered_by_its_number(self) -> None:
        contexts = [(CT, EXPLICIT), (VERIFICATION, IMPLICIT), (CT, IMPLICIT)]
        acceptance = agreed(contexts)
        assert list(acceptance.contexts) == [1, 3, 5]
        answered = said(acceptance).presentation_context
        assert [(one.context_id, one.result) for one in answered] == [(1, 0), (3, 0), (5, 0)]

    def test_who_asks_for_the_providers_role_takes_instances(self) -> None:
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid = UID(CT)
        role.scu_role, role.scp_role = False, True
        (context,) = agreed([(CT, EXPLICIT)], role).contexts.values()
        assert context.takes_instances

    def test_who_asks_for_no_role_takes_none(self) -> None:
        (context,) = agreed().contexts.values()
        assert not context.takes_instances


class TestAnswer:
    def test_it_offers_a_pdu_that_is_worth_its_header(self) -> None:
        user = said(agreed()).user_information
        assert user is not None
        assert user.maximum_length == MAXIMUM_PDU_BYTES >= 128 * 1024

    def test_it_repeats_the_titles_of_the_request(self) -> None:
        answer = agreed().answer
        assert answer[10:26] == b"GATEWAY".ljust(16)
        assert answer[26:42] == b"MODALITY".ljust(16)

    def test_the_peer_is_known_by_titles_without_padding(self) -> None:
        peer = agreed().peer
        assert (peer.calling_ae, peer.called_ae, peer.host) == ("MODALITY", "GATEWAY", "10.0.0.1")

    def test_a_rejection_is_written_as_the_standard_says(self) -> None:
        assert rejection(2, 3, 2) == bytes.fromhex("03 00 00000004 00 02 03 02")


class TestWindow:
    @pytest.mark.parametrize(
        ("asked", "window"),
        [(2, 2), (8, 8), (16, 16), (17, 16), (65535, 16), (0, 16)],
        ids=["2", "8", "16", "17", "most", "without-limit"],
    )
    def test_several_operations_at_once_are_agreed_to(self, asked: int, window: int) -> None:
        acceptance = agreed([(CT, EXPLICIT)], window_of(asked))
        assert acceptance.window == window
        assert window_said(acceptance) == (window, 1)

    @pytest.mark.parametrize("items", [(), (window_of(1),)], ids=["silent", "one"])
    def test_else_it_is_one_and_the_answer_is_silent(
        self, items: Sequence[UserInformation]
    ) -> None:
        acceptance = agreed([(CT, EXPLICIT)], *items)
        assert acceptance.window == 1
        assert window_said(acceptance) is None

    def test_a_connection_that_can_do_one_agrees_to_one(self) -> None:
        acceptance = agreed([(CT, EXPLICIT)], window_of(8), most_in_flight=1)
        assert acceptance.window == 1
        assert window_said(acceptance) is None


class TestUserIdentity:
    @pytest.mark.parametrize("wants_response", [False, True], ids=["silent", "response"])
    @pytest.mark.parametrize(
        "item",
        [
            identity(1, b"operator"),
            identity(2, b"operator", secondary=b"passcode"),
            identity(3, b"\x60\x82 a Kerberos ticket"),
            identity(4, b"<saml:Assertion/>"),
            identity(5, b"a.web.token"),
        ],
        ids=["name", "passcode", "kerberos", "saml", "token"],
    )
    def test_it_is_read_over_and_the_association_accepted(
        self, item: UserIdentityNegotiation, wants_response: bool
    ) -> None:
        item.positive_response_requested = wants_response
        acceptance = agreed([(CT, EXPLICIT)], item)
        assert len(acceptance.contexts) == 1
        user = said(acceptance).user_information
        assert user is not None
        assert user.user_identity is None


class TestWhatIsNoRequest:
    def test_one_cut_short_anywhere_raises_nothing_but_the_refusal(self) -> None:
        whole = associate_request([(CT, EXPLICIT), (VERIFICATION, IMPLICIT)], items=[window_of(8)])
        for length in range(len(whole) - HEADER_BYTES):
            body = memoryview(whole)[HEADER_BYTES : HEADER_BYTES + length]
            with suppress(ProtocolViolated):
                accept(read_request(body, "10.0.0.1"), [VERIFICATION], MOST_IN_FLIGHT)

    def test_a_request_without_a_caller_is_refused(self) -> None:
        asked = bytearray(associate_request([(CT, EXPLICIT)])[HEADER_BYTES:])
        asked[20:36] = bytes(16)
        with pytest.raises(ProtocolViolated):
            read_request(memoryview(asked), "10.0.0.1")

    def test_an_item_that_is_longer_than_the_request_is_refused(self) -> None:
        asked = bytearray(associate_request([(CT, EXPLICIT)])[HEADER_BYTES:])
        asked[70:72] = struct.pack(">H", 0xFFFF)
        with pytest.raises(ProtocolViolated):
            read_request(memoryview(asked), "10.0.0.1")
