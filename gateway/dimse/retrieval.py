"""The retrieval providers: C-MOVE to configured nodes, C-GET to whoever asks (PS3.4 C.4.2, C.4.3).

Instances go as they were received, byte for byte; none is decoded or changed.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import cycle, islice
from types import MappingProxyType

import structlog
from pynetdicom.dimse_primitives import C_GET, C_MOVE

from gateway.dicom.identifier import write_identifier
from gateway.dicom.query import Retrieval, Root, retrieval_of
from gateway.dimse.responses import (
    CANCELLED,
    PENDING,
    SUCCESS,
    identifier_of,
    require_kind,
    response_to,
)
from gateway.dimse.service import Exchange, Primitive
from gateway.dimse.user import MoveOriginator, Outgoing, SendOutcome, SendResult, send
from gateway.errors import GatewayError, PeerRefused, PeerUnavailable, StoreUnavailable, Transient
from gateway.settings import DimseNode, Settings
from gateway.store import Instance, NodeStore
from gateway.store.retrievals import RetrievalIndex

_log = structlog.get_logger()

_MOVE_ROOTS: Mapping[str, Root] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.2.1.2": Root.PATIENT,
        "1.2.840.10008.5.1.4.1.2.2.2": Root.STUDY,
    }
)
_GET_ROOTS: Mapping[str, Root] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.2.1.3": Root.PATIENT,
        "1.2.840.10008.5.1.4.1.2.2.3": Root.STUDY,
    }
)
_MATCHES_UNKNOWN = 0xA701
_NOTHING_TRANSFERRED = 0xA702
_DESTINATION_UNKNOWN = 0xA801
_SOME_FAILED = 0xB000
_FAILED_SOP_INSTANCE_UID_LIST = 0x00080058
_BATCH_INSTANCES = 2000
"""Instances sent over one association at most: what is to be sent is held in memory."""
_PENDING_EVERY_INSTANCES = 5
_PENDING_EVERY_SECONDS = 1.0
_LARGEST_NUMBER = 0xFFFF
"""The numbers of sub-operations are two bytes wide (PS3.7 annex E)."""

Note = Callable[[SendResult], None]
Transfer = Callable[[Sequence[Outgoing], Note], object]
"""Sends instances, and notes the result of each as it comes; what it does not note has failed."""


class _Stopped(Exception):
    """The peer that asked cancelled, or has gone."""

    def __init__(self, gone: PeerUnavailable | None = None) -> None:
        self.gone = gone
        super().__init__()


class MoveService:
    """Answers C-MOVE at patient root and study root; only configured nodes are destinations."""

    sop_classes = tuple(_MOVE_ROOTS)

    def __init__(self, store: NodeStore, settings: Settings) -> None:
        self._retriever = _Retriever(store)
        self._ae_title = settings.node.ae_title
        self._nodes = tuple(node for node in settings.nodes.values() if isinstance(node, DimseNode))

    def serve(self, exchange: Exchange, request: Primitive) -> None:
        """Send what a C-MOVE request names to its destination.

        Raises:
            PeerUnavailable: the association that asked has ended.
            ProtocolViolated: the request, or what the peer sent meanwhile, makes no sense.
        """
        require_kind(request, C_MOVE)
        title = str(request.MoveDestination or "").strip()
        destination = next((node for node in self._nodes if node.ae_title == title), None)
        if destination is None:
            reason = "the move destination is no configured node of kind dimse"
            _refuse(exchange, request, _DESTINATION_UNKNOWN, reason)
            return
        originator = MoveOriginator(
            ae_title=exchange.peer.calling_ae, message_id=int(request.MessageID)
        )
        self._retriever.serve(
            exchange,
            request,
            _MOVE_ROOTS[exchange.context.abstract_syntax],
            lambda batch, note: send(destination, self._ae_title, batch, note, originator),
        )


class GetService:
    """Answers C-GET at patient root and study root, on the association that asks."""

    sop_classes = tuple(_GET_ROOTS)

    def __init__(self, store: NodeStore) -> None:
        self._retriever = _Retriever(store)

    def serve(self, exchange: Exchange, request: Primitive) -> None:
        """Send what a C-GET request names to the peer that asked.

        Raises:
            PeerUnavailable: the association has ended.
            ProtocolViolated: the request, or what the peer sent meanwhile, makes no sense.
        """
        require_kind(request, C_GET)
        message_ids = _message_ids(int(request.MessageID))

        def transfer(batch: Sequence[Outgoing], note: Note) -> None:
            for instance in batch:
                try:
                    result = exchange.store(instance, next(message_ids))
                except PeerUnavailable as error:
                    raise _Stopped(error) from error
                note(result)

        root = _GET_ROOTS[exchange.context.abstract_syntax]
        self._retriever.serve(exchange, request, root, transfer)


class _Retriever:
    """Carries out retrievals, however their instances travel."""

    def __init__(self, store: NodeStore) -> None:
        self._index = RetrievalIndex(store.database)
        self._objects = store.objects

    def serve(self, exchange: Exchange, request: Primitive, root: Root, transfer: Transfer) -> None:
        try:
            retrieval = retrieval_of(identifier_of(exchange, request), root)
            remaining = self._index.count(retrieval)
        except GatewayError as error:
            is_passing = isinstance(error, Transient)
            status = _MATCHES_UNKNOWN if is_passing else error.dimse_status
            _refuse(exchange, request, status, str(error))
            return
        progress = _Progress(exchange, request, remaining)
        try:
            reason = self._carry_out(retrieval, transfer, progress)
        except _Stopped as stopped:
            if stopped.gone is not None:
                raise stopped.gone from stopped
            progress.finish(CANCELLED, "")
        except StoreUnavailable as error:
            progress.finish(_NOTHING_TRANSFERRED, str(error))
        else:
            progress.finish(progress.outcome, reason)

    def _carry_out(self, retrieval: Retrieval, transfer: Transfer, progress: "_Progress") -> str:
        """Transfer everything; return why the rest was given up, if it was."""
        lost = ""
        instances = map(self._outgoing, self._index.find(retrieval))
        while batch := tuple(islice(instances, _BATCH_INSTANCES)):
            try:
                if not lost:
                    transfer([one for one in batch if one.path.is_file()], progress.note)
            except (PeerUnavailable, PeerRefused) as error:
                lost = str(error)
            progress.fail_the_rest(batch)
        return lost

    def _outgoing(self, instance: Instance) -> Outgoing:
        return Outgoing(
            path=self._objects.path(instance.object_key),
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
        )


class _Progress:
    """Counts sub-operations, and tells the peer that asked (PS3.4 section C.4.2.1.6 on)."""

    def __init__(self, exchange: Exchange, request: Primitive, remaining: int) -> None:
        self._exchange = exchange
        self._request = request
        self._remaining = remaining
        self._completed = self._warned = 0
        self._failed: list[str] = []
        self._first_failure = ""
        self._noted: set[str] = set()
        self._told_at = time.monotonic()

    @property
    def outcome(self) -> int:
        """The final status of a retrieval that came to its end."""
        if not self._failed:
            return SUCCESS
        return _SOME_FAILED if self._completed + self._warned else _NOTHING_TRANSFERRED

    def note(self, result: SendResult) -> None:
        """Count one result; stop where the peer wants no more.

        Raises:
            _Stopped: the peer that asked cancelled, or has gone.
        """
        self._count(result.sop_instance_uid, result)
        is_due = len(self._noted) % _PENDING_EVERY_INSTANCES == 0
        is_late = time.monotonic() - self._told_at > _PENDING_EVERY_SECONDS
        if self._remaining:
            self._stop_if_cancelled()
            if is_due or is_late:
                self._tell()

    def fail_the_rest(self, batch: Sequence[Outgoing]) -> None:
        """Count what was not noted as failed, and begin the next batch."""
        for one in batch:
            if one.sop_instance_uid not in self._noted:
                self._count(one.sop_instance_uid, None)
        self._noted.clear()

    def finish(self, status: int, reason: str) -> None:
        """Send the final response, with the instances that failed.

        Raises:
            PeerUnavailable: the association that asked has ended.
        """
        reason = reason or self._first_failure
        response = response_to(self._request, status, reason)
        self._fill(response)
        if status == CANCELLED:
            response.NumberOfRemainingSuboperations = min(self._remaining, _LARGEST_NUMBER)
        if self._failed:
            failed = {_FAILED_SOP_INSTANCE_UID_LIST: "\\".join(self._failed)}
            syntax = self._exchange.context.transfer_syntax
            response.Identifier = BytesIO(write_identifier(failed, syntax))
        _log.info(
            "retrieval_answered",
            calling_ae=self._exchange.peer.calling_ae,
            status=f"{status:04X}H",
            completed=self._completed,
            warnings=self._warned,
            failed=len(self._failed),
            reason=reason,
        )
        self._exchange.respond(response)

    def _count(self, sop_instance_uid: str, result: SendResult | None) -> None:
        self._noted.add(sop_instance_uid)
        self._remaining = max(0, self._remaining - 1)
        if result is None or result.outcome is not SendOutcome.STORED:
            self._failed.append(sop_instance_uid)
            self._first_failure = self._first_failure or (result.detail if result else "")
        elif result.is_warning:
            self._warned += 1
        else:
            self._completed += 1

    def _stop_if_cancelled(self) -> None:
        try:
            is_cancelled = self._exchange.is_cancelled()
        except PeerUnavailable as error:
            raise _Stopped(error) from error
        if is_cancelled:
            raise _Stopped

    def _tell(self) -> None:
        response = response_to(self._request, PENDING)
        self._fill(response)
        response.NumberOfRemainingSuboperations = min(self._remaining, _LARGEST_NUMBER)
        try:
            self._exchange.respond(response)
        except PeerUnavailable as error:
            raise _Stopped(error) from error
        self._told_at = time.monotonic()

    def _fill(self, response: Primitive) -> None:
        response.NumberOfCompletedSuboperations = min(self._completed, _LARGEST_NUMBER)
        response.NumberOfFailedSuboperations = min(len(self._failed), _LARGEST_NUMBER)
        response.NumberOfWarningSuboperations = min(self._warned, _LARGEST_NUMBER)


def _refuse(exchange: Exchange, request: Primitive, status: int, reason: str) -> None:
    _log.warning(
        "retrieval_refused",
        calling_ae=exchange.peer.calling_ae,
        status=f"{status:04X}H",
        reason=reason,
    )
    exchange.respond(response_to(request, status, reason))


def _message_ids(taken: int) -> Iterator[int]:
    """Yield message IDs of sub-operations for ever; none is that of the request."""
    return (number for number in cycle(range(1, _LARGEST_NUMBER)) if number != taken)
