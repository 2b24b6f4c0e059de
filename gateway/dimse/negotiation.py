"""Association requests read, and answers to them (PS3.8 section 7.1, PS3.7 annex D)."""

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext as Proposal
from pynetdicom.presentation import negotiate_unrestricted

from gateway.dicom.header import printable
from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from gateway.dimse.connection import ASSOCIATE_RQ, MAXIMUM_PDU_BYTES
from gateway.dimse.service import Peer, PresentationContext
from gateway.errors import ProtocolViolated

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_ACCEPTED = 0x00
# What pynetdicom lets through when bytes are no association request.
_DECODE_ERRORS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a peer asks for when it opens an association."""

    peer: Peer
    primitive: A_ASSOCIATE

    @property
    def roles(self) -> Mapping[UID, tuple[bool, bool]]:
        """The roles the peer wants, (user, provider) by SOP class."""
        return {
            item.sop_class_uid: (bool(item.scu_role), bool(item.scp_role))
            for item in self.primitive.user_information
            if isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.sop_class_uid
        }

    @property
    def maximum_pdu_bytes(self) -> int:
        """Longest PDU the peer takes; 0: any."""
        return self.primitive.maximum_length_received or 0

    def window(self, most: int) -> int:
        """How many operations the peer may have under way, given what it asks for.

        1 unless it negotiates more; 0 in its request means without limit (PS3.7 D.3.3.3).
        """
        for item in self.primitive.user_information:
            if isinstance(item, AsynchronousOperationsWindowNegotiation):
                return min(item.maximum_number_operations_invoked or most, most)
        return 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Acceptance:
    """An accepted association: what was agreed, and the answer that says so."""

    peer: Peer
    contexts: Mapping[int, PresentationContext]
    maximum_pdu_bytes: int
    window: int
    answer: bytes


def read_request(body: memoryview, host: str) -> Request:
    """Read an A-ASSOCIATE-RQ.

    Raises:
        ProtocolViolated: the bytes are none.
    """
    pdu = A_ASSOCIATE_RQ()
    try:
        pdu.decode(struct.pack(">BBI", ASSOCIATE_RQ, 0, len(body)) + bytes(body))
        primitive = pdu.to_primitive()
        peer = Peer(
            calling_ae=printable(primitive.calling_ae_title),
            called_ae=printable(primitive.called_ae_title),
            host=host,
        )
        request = Request(peer=peer, primitive=primitive)
        _require_whole(request)
    except _DECODE_ERRORS as error:
        raise ProtocolViolated("an association request that cannot be read") from error
    return request


def _require_whole(request: Request) -> None:
    """Meet now what a half-decoded request would raise later."""
    if not request.peer.calling_ae or request.primitive.application_context_name is None:
        raise ValueError
    for proposal in request.primitive.presentation_context_definition_list:
        if proposal.context_id is None or not proposal.abstract_syntax:
            raise ValueError
        if not proposal.transfer_syntax:
            raise ValueError
    _ = request.roles, request.maximum_pdu_bytes, request.window(1)


def accept(request: Request, sop_classes: Collection[str], most_in_flight: int) -> Acceptance:
    """Agree to every storage class, and to the other SOP classes that are served.

    Storage, private and unknown classes too, is agreed to in the first transfer syntax that
    the peer proposes: bytes are kept as they come, whatever they are.
    """
    results, roles = negotiate_unrestricted(
        request.primitive.presentation_context_definition_list,
        _supported(sop_classes),
        dict(request.roles),
    )
    window = request.window(most_in_flight)
    contexts = {
        int(result.context_id or 0): _context(result, request)
        for result in results
        if result.result == _ACCEPTED
    }
    return Acceptance(
        peer=request.peer,
        contexts=contexts,
        maximum_pdu_bytes=request.maximum_pdu_bytes,
        window=window,
        answer=_answer(request, results, roles, window),
    )


def rejection(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 section 9.3.4)."""
    return bytes((0x03, 0, 0, 0, 0, 4, 0, result, source, reason))


def _supported(sop_classes: Collection[str]) -> list[Proposal]:
    entity = AE()
    for uid in sop_classes:
        entity.add_supported_context(uid)
    return entity.supported_contexts


def _context(result: Proposal, request: Request) -> PresentationContext:
    abstract_syntax = result.abstract_syntax or UID("")
    _, is_provider = request.roles.get(abstract_syntax, (True, False))
    return PresentationContext(
        id=int(result.context_id or 0),
        abstract_syntax=str(abstract_syntax),
        transfer_syntax=str(result.transfer_syntax[0]),
        takes_instances=is_provider,
    )


def _answer(
    request: Request,
    results: list[Proposal],
    roles: list[SCP_SCU_RoleSelectionNegotiation],
    window: int,
) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(_APPLICATION_CONTEXT)
    primitive.calling_ae_title = request.primitive.calling_ae_title
    primitive.called_ae_title = request.primitive.called_ae_title
    primitive.result = _ACCEPTED
    primitive.result_source = 0x01
    primitive.presentation_context_definition_results_list = results
    length = MaximumLengthNotification()
    length.maximum_length_received = MAXIMUM_PDU_BYTES
    uid = ImplementationClassUIDNotification()
    uid.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    name = ImplementationVersionNameNotification()
    name.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    primitive.user_information = [length, uid, name, *_window(window), *roles]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return pdu.encode()


def _window(window: int) -> list[AsynchronousOperationsWindowNegotiation]:
    """Answer a wish for several operations at once; silence means one."""
    if window == 1:
        return []
    item = AsynchronousOperationsWindowNegotiation()
    item.maximum_number_operations_invoked = window
    item.maximum_number_operations_performed = 1
    return [item]
