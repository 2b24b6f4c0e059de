"""The storage and verification user: how the node speaks to its peers."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pynetdicom.association import Association

from gateway.dimse.library import VERIFICATION
from gateway.dimse.requestor import NoContextAccepted, association, peer_name, requestor
from gateway.errors import PeerUnavailable
from gateway.settings import DimseNode

_STORED = (0x0000, 0x0001, 0x0111)
_ATTRIBUTE_LIST_ERROR = 0x0001
_PROCESSING_FAILURE = 0x0110
_MOST_CONTEXTS = 128
"""Presentation contexts of one association (PS3.8 section 9.3.2.2)."""


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
    is_warning: bool = False
    """Whether the peer stored it with a warning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveOriginator:
    """Whose C-MOVE a C-STORE belongs to (PS3.7 section 9.1.1.1)."""

    ae_title: str
    message_id: int


def echo(node: DimseNode, calling_ae: str) -> None:
    """Verify that a peer answers (PS3.4 annex A).

    Raises:
        PeerUnavailable: no connection, no association or no answer.
        PeerRefused: the peer rejected the association or verification itself.
    """
    entity = requestor(calling_ae)
    entity.add_requested_context(VERIFICATION)
    with association(entity, node) as opened:
        status = opened.send_c_echo()
    if status.get("Status") != 0x0000:
        raise PeerUnavailable(f"{peer_name(node)} gave no answer to C-ECHO")


def send(
    node: DimseNode,
    calling_ae: str,
    instances: Sequence[Outgoing],
    progress: Callable[[SendResult], None] = lambda _: None,
    originator: MoveOriginator | None = None,
) -> tuple[SendResult, ...]:
    """Send instances over as few associations as their contexts need; bytes go unchanged.

    Every instance has its own result; a refused one does not stop the others. An error that
    ``progress`` raises ends the association and is passed on.

    Raises:
        PeerUnavailable: no association could be opened.
        PeerRefused: the peer rejected the association for good.
    """
    results: list[SendResult] = []
    for batch in _batches(instances):
        try:
            with closing(_send_batch(node, calling_ae, batch, originator)) as sent:
                for result in sent:
                    results.append(result)
                    progress(result)
        except NoContextAccepted:
            ended = [_result(one, SendOutcome.REFUSED, _not_accepted(one)) for one in batch]
        except PeerUnavailable as error:
            if not results:
                raise
            done = {result.sop_instance_uid for result in results}
            missing = [one for one in batch if one.sop_instance_uid not in done]
            ended = [_result(one, SendOutcome.BUSY, str(error)) for one in missing]
        else:
            ended = []
        for result in ended:
            results.append(result)
            progress(result)
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
    node: DimseNode,
    calling_ae: str,
    batch: Sequence[Outgoing],
    originator: MoveOriginator | None,
) -> Generator[SendResult, None, None]:
    entity = requestor(calling_ae)
    for sop_class_uid, transfer_syntax_uid in dict.fromkeys(
        (instance.sop_class_uid, instance.transfer_syntax_uid) for instance in batch
    ):
        entity.add_requested_context(sop_class_uid, transfer_syntax_uid)
    with association(entity, node) as opened:
        accepted = {
            (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in opened.accepted_contexts
        }
        for instance in batch:
            if (instance.sop_class_uid, instance.transfer_syntax_uid) in accepted:
                yield _send_one(opened, instance, originator)
            else:
                yield _result(instance, SendOutcome.REFUSED, _not_accepted(instance))


def _result(instance: Outgoing, outcome: SendOutcome, detail: str) -> SendResult:
    return SendResult(sop_instance_uid=instance.sop_instance_uid, outcome=outcome, detail=detail)


def _not_accepted(instance: Outgoing) -> str:
    return (
        f"does not accept class {instance.sop_class_uid} in transfer syntax "
        f"{instance.transfer_syntax_uid}"
    )


def _send_one(
    opened: Association, instance: Outgoing, originator: MoveOriginator | None
) -> SendResult:
    if not opened.is_established:
        return _result(instance, SendOutcome.BUSY, "the association was aborted")
    try:
        status = opened.send_c_store(
            instance.path,
            originator_aet=None if originator is None else originator.ae_title,
            originator_id=None if originator is None else originator.message_id,
        )
    except RuntimeError:
        # What pynetdicom raises when the peer aborted just before the call.
        return _result(instance, SendOutcome.BUSY, "the association was aborted")
    if "Status" not in status:
        return _result(instance, SendOutcome.BUSY, "no answer before the connection ended")
    return answered(instance, status.Status, str(status.get("ErrorComment", "")))


def answered(instance: Outgoing, status: int, comment: str) -> SendResult:
    """Return what a C-STORE status means for an instance."""
    return SendResult(
        sop_instance_uid=instance.sop_instance_uid,
        outcome=outcome_of(status),
        detail=f"{status:04X}H {comment}".strip(),
        is_warning=status == _ATTRIBUTE_LIST_ERROR or _is_warning(status),
    )


def outcome_of(status: int) -> SendOutcome:
    """Class a C-STORE status.

    Success and warnings are stored, and so is 0111H: the peer has that very instance. A7xxH and
    0110H, which archives answer for any trouble of their own, are worth another attempt.
    """
    if status in _STORED or _is_warning(status):
        return SendOutcome.STORED
    is_passing = status == _PROCESSING_FAILURE or status & 0xFF00 == 0xA700
    return SendOutcome.BUSY if is_passing else SendOutcome.REFUSED


def _is_warning(status: int) -> bool:
    return status & 0xF000 == 0xB000
