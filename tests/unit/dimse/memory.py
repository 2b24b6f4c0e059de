"""An exchange whose peer is the test: it asks, keeps the answers, and cancels when told to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

from pydicom import Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.dsutils import decode, encode

from gateway.dimse.service import Peer, PresentationContext, Primitive
from gateway.dimse.user import Outgoing, SendOutcome, SendResult
from gateway.errors import PeerUnavailable
from tests.unit.store.samples import IMPLICIT

Kind = type[C_FIND] | type[C_MOVE] | type[C_GET]


def identifier(level: str | None, **keys: str) -> Dataset:
    """Return an identifier with these keys, well formed or not."""
    data_set = Dataset()
    named = keys if level is None else {"QueryRetrieveLevel": level, **keys}
    for keyword, value in named.items():
        vr = dictionary_VR(keyword)
        data_set.add(DataElement(keyword, vr, value, validation_mode=IGNORE))
    return data_set


@dataclass
class MemoryExchange:
    """Gives a service one request and takes its responses.

    ``cancel_after`` and ``end_after`` count what the peer was sent: responses and instances.
    """

    abstract_syntax: str
    transfer_syntax: str = IMPLICIT
    takes: Sequence[str] = ()
    """Transfer syntaxes in which the peer takes instances, as C-GET needs."""
    cancel_after: int | None = None
    end_after: int | None = None
    responses: list[Primitive] = field(default_factory=list)
    stored: list[tuple[Outgoing, int]] = field(default_factory=list)

    @property
    def peer(self) -> Peer:
        return Peer(calling_ae="WORKSTATION", called_ae="GATEWAY", host="127.0.0.1")

    @property
    def context(self) -> PresentationContext:
        return PresentationContext(
            id=1, abstract_syntax=self.abstract_syntax, transfer_syntax=self.transfer_syntax
        )

    def request_of(self, kind: Kind, identifier: Dataset | None) -> Primitive:
        """Return a request as the association hands it to a service."""
        request = kind()
        request.MessageID = 7
        request.AffectedSOPClassUID = UID(self.abstract_syntax)
        request.Priority = 2
        if identifier is not None:
            request.Identifier = BytesIO(self._encoded(identifier))
        return request

    def respond(self, response: Primitive) -> None:
        self._require_peer()
        self.responses.append(response)

    def is_cancelled(self) -> bool:
        return self.cancel_after is not None and self._sent() >= self.cancel_after

    def request(self, request: Primitive, timeout_seconds: float = 30) -> Primitive:
        raise PeerUnavailable("this peer answers no requests")

    def store(self, instance: Outgoing, message_id: int) -> SendResult:
        self._require_peer()
        if instance.transfer_syntax_uid not in self.takes:
            return SendResult(
                sop_instance_uid=instance.sop_instance_uid,
                outcome=SendOutcome.REFUSED,
                detail="no context",
            )
        self.stored.append((instance, message_id))
        return SendResult(
            sop_instance_uid=instance.sop_instance_uid,
            outcome=SendOutcome.STORED,
            detail="0000H",
        )

    def statuses(self) -> list[int]:
        return [response.Status for response in self.responses]

    def identifiers(self) -> list[Dataset]:
        """Return the identifiers of the responses that have one, by pydicom's own reading."""
        uid = UID(self.transfer_syntax)
        return [
            decode(response.Identifier, uid.is_implicit_VR, uid.is_little_endian, uid.is_deflated)
            for response in self.responses
            if response.Identifier is not None
        ]

    def _encoded(self, identifier: Dataset) -> bytes:
        uid = UID(self.transfer_syntax)
        encoded = encode(identifier, uid.is_implicit_VR, uid.is_little_endian, uid.is_deflated)
        assert encoded is not None
        return encoded

    def _sent(self) -> int:
        return len(self.responses) + len(self.stored)

    def _require_peer(self) -> None:
        if self.end_after is not None and self._sent() >= self.end_after:
            raise PeerUnavailable("the peer has gone")
