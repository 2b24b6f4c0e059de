"""The storage and verification user: how the node speaks to its peers."""

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from gateway.dimse.library import VERIFICATION
from gateway.dimse.transport import MAXIMUM_PDU_BYTES
from gateway.errors import PeerRefused, PeerUnavailable
from gateway.settings import DimseNode

_CONNECT_SECONDS = 10
_RESPONSE_SECONDS = 120
_MOST_NAMED_CONTEXTS = 3
_STORED = (0x0000, 0x0001, 0x0111)
_PROCESSING_FAILURE = 0x0110
_MOST_CONTEXTS = 128
"""Presentation contexts of one association (PS3.8 section 9.3.2.2)."""


class _NoContextAccepted(PeerRefused):
    """The peer accepted the association and none of what was proposed on it."""


class SendOutcome(StrEnum):
    """What a peer answered for one instance (PS3.4 table B.2-1)."""

    STORED = "stored"
    """Success, or a warning: the peer has it."""
    BUSY = "busy"
    """Out of resources, or no answer: worth another attempt."""
    REFUSED = "refused"
    """The peer will not take it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """An instance to send: a Part 10 file and what it holds."""

    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SendResult:
    """What became of one instance."""

    sop_instance_uid: str
    outcome: SendOutcome
    detail: str = ""
    """The peer's status and comment, or what happened instead."""


def echo(node: DimseNode, calling_ae: str) -> None:
    """Verify that a peer answers (PS3.4 annex A).

    Raises:
        PeerUnavailable: no connection, no association or no answer.
        PeerRefused: the peer rejected the association or verification itself.
    """
    entity = _entity(calling_ae)
    entity.add_requested_context(VERIFICATION)
    with _association(entity, node) as association:
        status = association.send_c_echo()
    if status.get("Status") != 0x0000:
        raise PeerUnavailable(f"{_name(node)} gave no answer to C-ECHO")


def send(
    node: DimseNode,
    calling_ae: str,
    instances: Sequence[Outgoing],
    progress: Callable[[SendResult], None] = lambda _: None,
) -> tuple[SendResult, ...]:
    """Send instances over as few associations as their contexts need; bytes go unchanged.

    Every instance has its own result; a refused one does not stop the others.

    Raises:
        PeerUnavailable: no association could be opened.
        PeerRefused: the peer rejected the association for good.
    """
    results: list[SendResult] = []
    for batch in _batches(instances):
        try:
            for result in _send_batch(node, calling_ae, batch):
                progress(result)
                results.append(result)
        except _NoContextAccepted:
            results.extend(_result(one, SendOutcome.REFUSED, _not_accepted(one)) for one in batch)
        except PeerUnavailable as error:
            if not results:
                raise
            results.extend(_result(one, SendOutcome.BUSY, str(error)) for one in batch)
    return tuple(results)


def _batches(instances: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut where an association would need more contexts than it can have."""
    batch: list[Outgoing] = []
    contexts: set[tuple[str, str]] = set()
    for instance in instances:
        context = (instance.sop_class_uid, instance.transfer_syntax_uid)
        if context not in contexts and len(contexts) == _MOST_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        batch.append(instance)
        contexts.add(context)
    if batch:
        yield batch


def _send_batch(
    node: DimseNode, calling_ae: str, batch: Sequence[Outgoing]
) -> Iterator[SendResult]:
    entity = _entity(calling_ae)
    for sop_class_uid, transfer_syntax_uid in dict.fromkeys(
        (instance.sop_class_uid, instance.transfer_syntax_uid) for instance in batch
    ):
        entity.add_requested_context(sop_class_uid, transfer_syntax_uid)
    with _association(entity, node) as association:
        accepted = {
            (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in association.accepted_contexts
        }
        for instance in batch:
            yield _send_one(association, accepted, instance)


def _send_one(
    association: Association, accepted: set[tuple[str, str]], instance: Outgoing
) -> SendResult:
    if (instance.sop_class_uid, instance.transfer_syntax_uid) not in accepted:
        outcome, detail = SendOutcome.REFUSED, _not_accepted(instance)
    elif not association.is_established:
        outcome, detail = SendOutcome.BUSY, "the association was aborted"
    else:
        outcome, detail = _answered(association, instance)
    return _result(instance, outcome, detail)


def _result(instance: Outgoing, outcome: SendOutcome, detail: str) -> SendResult:
    return SendResult(sop_instance_uid=instance.sop_instance_uid, outcome=outcome, detail=detail)


def _not_accepted(instance: Outgoing) -> str:
    return (
        f"does not accept class {instance.sop_class_uid} in transfer syntax "
        f"{instance.transfer_syntax_uid}"
    )


def _answered(association: Association, instance: Outgoing) -> tuple[SendOutcome, str]:
    try:
        status = association.send_c_store(instance.path)
    except RuntimeError:
        # What pynetdicom raises when the peer aborted just before the call.
        return SendOutcome.BUSY, "the association was aborted"
    if "Status" not in status:
        return SendOutcome.BUSY, "no answer before the connection ended"
    detail = f"{status.Status:04X}H {status.get('ErrorComment', '')}".strip()
    return outcome_of(status.Status), detail


def outcome_of(status: int) -> SendOutcome:
    """Class a C-STORE status.

    Success and warnings are stored, and so is 0111H: the peer has that very instance. A7xxH and
    0110H, which archives answer for any trouble of their own, are worth another attempt.
    """
    if status in _STORED or status & 0xF000 == 0xB000:
        return SendOutcome.STORED
    is_passing = status == _PROCESSING_FAILURE or status & 0xFF00 == 0xA700
    return SendOutcome.BUSY if is_passing else SendOutcome.REFUSED


def _entity(calling_ae: str) -> AE:
    entity = AE(ae_title=calling_ae)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
    entity.connection_timeout = _CONNECT_SECONDS
    entity.acse_timeout = _CONNECT_SECONDS
    entity.dimse_timeout = _RESPONSE_SECONDS
    entity.network_timeout = _RESPONSE_SECONDS
    return entity


@contextmanager
def _association(entity: AE, node: DimseNode) -> Iterator[Association]:
    try:
        association = entity.associate(
            node.host,
            node.port,
            ae_title=node.ae_title,
            evt_handlers=[(evt.EVT_CONN_CLOSE, _end_waiting)],
        )
    except OSError as error:
        raise PeerUnavailable(f"{_name(node)} cannot be found: {error.strerror}") from error
    answer = association.acceptor.primitive
    if answer is not None and association.is_rejected:
        message = f"{_name(node)} rejected the association: {answer.reason_str}"
        raise (PeerRefused if answer.result == 0x01 else PeerUnavailable)(message)
    is_accepted = answer is not None and answer.presentation_context_definition_results_list
    if is_accepted and not association.is_established:
        raise _NoContextAccepted(f"{_name(node)} accepts none of: {_proposed(association)}")
    if not association.is_established:
        raise PeerUnavailable(f"{_name(node)} does not answer; is its DICOM service running?")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _proposed(association: Association) -> str:
    return ", ".join(
        f"class {context.abstract_syntax} in transfer syntax {context.transfer_syntax[0]}"
        for context in association.requestor.requested_contexts[:_MOST_NAMED_CONTEXTS]
    )


class _ClosedQueue(queue.Queue[Any]):
    """The messages of a connection that is closed: there is none, and no use in waiting."""

    def get(self, block: bool = True, timeout: float | None = None) -> tuple[None, None]:  # noqa: ARG002
        """Return at once."""
        return None, None


def _end_waiting(event: Event) -> None:
    """Let no send wait for a response that cannot come, as pynetdicom may for its timeout."""
    event.assoc.dimse.msg_queue = _ClosedQueue()


def _name(node: DimseNode) -> str:
    return f"{node.ae_title} at {node.host}:{node.port}"
