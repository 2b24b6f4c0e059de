"""What a service of the DICOM port is given for each request, and what it owes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.dimse.user import Outgoing, SendResult

Primitive = Any
"""One of pynetdicom's DIMSE primitives (``C_FIND``, ``N_ACTION``, ...): its library of messages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """Who opened an association."""

    calling_ae: str
    called_ae: str
    host: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PresentationContext:
    """One accepted context of an association (PS3.8 section 9.3.3.2)."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    takes_instances: bool = False
    """Whether the peer accepts C-STORE on it: it asked for the provider's role."""


class Exchange(Protocol):
    """One request under way on an association."""

    @property
    def peer(self) -> Peer:
        """Who asks."""

    @property
    def context(self) -> PresentationContext:
        """The context of the request."""

    def respond(self, response: Primitive) -> None:
        """Send a response, or a request of the provider's own, on the request's context.

        Raises:
            PeerUnavailable: the association has ended.
        """

    def is_cancelled(self) -> bool:
        """Tell whether the peer sent C-CANCEL for this request (PS3.7 section 9.3.2.3)."""

    def request(self, request: Primitive, timeout_seconds: float = ...) -> Primitive:
        """Send a request of the provider's own and return the peer's response.

        Raises:
            PeerUnavailable: the association ended, or no response came in time.
        """

    def store(self, instance: Outgoing, message_id: int) -> SendResult:
        """Send one instance to the peer on this association, as C-GET does.

        ``message_id`` is the sub-operation's own. Without a context for the instance on which
        the peer takes instances, the result is a refusal.

        Raises:
            PeerUnavailable: the association has ended.
        """


class Service(Protocol):
    """Answers the requests of some SOP classes."""

    @property
    def sop_classes(self) -> Sequence[str]:
        """The SOP classes that the port accepts for this service."""

    def serve(self, exchange: Exchange, request: Primitive) -> None:
        """Answer one request, with all its responses."""
