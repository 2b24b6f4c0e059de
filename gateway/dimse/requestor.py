"""Associations that the node opens: one way to reach a peer, and to tell why it did not work."""

import queue
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from gateway.dimse.connection import MAXIMUM_PDU_BYTES
from gateway.dimse.tls import client_context
from gateway.errors import PeerRefused, PeerUnavailable
from gateway.settings import DimseNode

_CONNECT_SECONDS = 10
_RESPONSE_SECONDS = 120
_MOST_NAMED_CONTEXTS = 3


class NoContextAccepted(PeerRefused):
    """The peer accepted the association and none of what was proposed on it."""


def requestor(
    calling_ae: str,
    *,
    connect_seconds: float = _CONNECT_SECONDS,
    response_seconds: float = _RESPONSE_SECONDS,
) -> AE:
    """Return an application entity that calls others, with no contexts yet."""
    entity = AE(ae_title=calling_ae)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
    entity.connection_timeout = connect_seconds
    entity.acse_timeout = connect_seconds
    entity.dimse_timeout = response_seconds
    entity.network_timeout = response_seconds
    return entity


@contextmanager
def association(
    entity: AE, node: DimseNode, roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = ()
) -> Iterator[Association]:
    """Give an association with a peer, released at the end.

    Raises:
        PeerUnavailable: no connection, no answer, or rejected for a passing reason.
        NoContextAccepted: the peer takes none of the proposed contexts.
        PeerRefused: the peer rejected the association for good.
    """
    try:
        opened = entity.associate(
            node.host,
            node.port,
            ae_title=node.ae_title,
            ext_neg=list(roles),
            tls_args=None if node.tls is None else (client_context(node.tls), node.host),
            evt_handlers=[
                (evt.EVT_CONN_OPEN, _prepare),
                (evt.EVT_CONN_CLOSE, _end_waiting),
            ],
        )
    except OSError as error:
        raise PeerUnavailable(f"{peer_name(node)} cannot be found: {error.strerror}") from error
    _require_established(opened, node)
    try:
        yield opened
    finally:
        if opened.is_established:
            opened.release()


def peer_name(node: DimseNode) -> str:
    """Return what messages call a peer: AE title and address."""
    return f"{node.ae_title} at {node.host}:{node.port}"


def _require_established(opened: Association, node: DimseNode) -> None:
    answer = opened.acceptor.primitive
    if answer is not None and opened.is_rejected:
        message = f"{peer_name(node)} rejected the association: {answer.reason_str}"
        raise (PeerRefused if answer.result == 0x01 else PeerUnavailable)(message)
    is_accepted = answer is not None and answer.presentation_context_definition_results_list
    if is_accepted and not opened.is_established:
        raise NoContextAccepted(f"{peer_name(node)} accepts none of: {_proposed(opened)}")
    if not opened.is_established:
        raise PeerUnavailable(f"{peer_name(node)} does not answer; is its DICOM service running?")


def _proposed(opened: Association) -> str:
    return ", ".join(
        f"class {context.abstract_syntax} in transfer syntax {context.transfer_syntax[0]}"
        for context in opened.requestor.requested_contexts[:_MOST_NAMED_CONTEXTS]
    )


class _Messages(queue.Queue[Any]):
    """The messages of a peer; its responses are for the request that waits for them.

    pynetdicom's own thread looks for requests without waiting. Where it does so while a request
    of this side begins, it takes the response, and the request waits in vain until its timeout.
    """

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next message; without waiting, only where it is a request."""
        if not block and self._has_response():
            raise queue.Empty
        return super().get(block, timeout)

    def _has_response(self) -> bool:
        with self.mutex:
            first = self.queue[0][1] if self.queue else None
        return getattr(first, "MessageIDBeingRespondedTo", None) is not None


class _ClosedQueue(queue.Queue[Any]):
    """The messages of a connection that is closed: there is none, and no use in waiting."""

    def get(self, block: bool = True, timeout: float | None = None) -> tuple[None, None]:  # noqa: ARG002
        """Return at once."""
        return None, None


def _prepare(event: Event) -> None:
    """Make a new connection fit for requests that follow each other.

    A data set is sent after its command, and would else wait for the acknowledgement of that:
    40 ms for every small instance.
    """
    event.assoc.dimse.msg_queue = _Messages()
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _end_waiting(event: Event) -> None:
    """Let no request wait for a response that cannot come, as pynetdicom may for its timeout."""
    event.assoc.dimse.msg_queue = _ClosedQueue()
