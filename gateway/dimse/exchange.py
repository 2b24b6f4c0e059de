"""A request that a service answers: what `gateway.dimse.service.Exchange` promises, kept."""

import time
from collections.abc import Collection
from io import BytesIO
from typing import BinaryIO, Generic, Protocol, TypeVar

from gateway.dicom.part10 import seek_data_set
from gateway.dicom.reencoding import REENCODABLE, reencoded
from gateway.dimse.message import (
    C_CANCEL_RQ,
    IS_RESPONSE,
    Command,
    data_fragment,
    encoded_message,
    primitive_of,
    store_request,
)
from gateway.dimse.negotiation import Acceptance
from gateway.dimse.service import Peer, PresentationContext, Primitive
from gateway.dimse.user import Outgoing, SendOutcome, SendResult, answered
from gateway.errors import DataSetUnreadable, GatewayError, PeerUnavailable

_RESPONSE_SECONDS = 120.0
_MOST_MESSAGES = 0xFFFF
_FRAGMENT_BYTES = 1 << 17
_CONTEXT_AND_CONTROL_BYTES = 6


class _NoContext(GatewayError):
    """The peer takes an instance in no transfer syntax that it can be sent in."""


class ReadMessage(Protocol):
    """A message that the association read."""

    @property
    def command(self) -> Command:
        """Its command set."""

    @property
    def context(self) -> PresentationContext:
        """The context it came on."""

    @property
    def data_set(self) -> bytes:
        """Its data set, where it is not an instance."""


M = TypeVar("M", bound=ReadMessage)


class Channel(Protocol[M]):
    """What an exchange needs of its association."""

    @property
    def acceptance(self) -> Acceptance:
        """What was agreed on."""

    def send(self, *pdus: bytes) -> None:
        """Send PDUs."""

    def has_input(self) -> bool:
        """Tell whether the peer sent something."""

    def read(self) -> M | None:
        """Return the next message, or nothing at a release."""

    def postpone(self, message: M) -> None:
        """Leave a message for later."""


class ServedRequest(Generic[M]):
    """One request under way."""

    def __init__(self, channel: Channel[M], context: PresentationContext, message_id: int) -> None:
        self._channel = channel
        self._context = context
        self._message_id = message_id
        self._is_cancelled = False

    @property
    def peer(self) -> Peer:
        """Who asks."""
        return self._channel.acceptance.peer

    @property
    def context(self) -> PresentationContext:
        """The context of the request."""
        return self._context

    def respond(self, response: Primitive) -> None:
        """Send a response, or a request of the provider's own, on the request's context."""
        limit = self._channel.acceptance.maximum_pdu_bytes
        self._channel.send(*encoded_message(self._context.id, response, limit))

    def is_cancelled(self) -> bool:
        """Tell whether the peer sent C-CANCEL for this request (PS3.7 section 9.3.2.3)."""
        while not self._is_cancelled and self._channel.has_input():
            self._take(self._read())
        return self._is_cancelled

    def request(self, request: Primitive, timeout_seconds: float = _RESPONSE_SECONDS) -> Primitive:
        """Send a request of the provider's own and return the peer's response.

        Raises:
            PeerUnavailable: the association ended, or no response came in time.
        """
        if request.MessageID is None:
            request.MessageID = self._message_id % _MOST_MESSAGES + 1
        self.respond(request)
        message = self._response(request.MessageID, timeout_seconds)
        return primitive_of(message.context.id, message.command, message.data_set)

    def store(self, instance: Outgoing, message_id: int) -> SendResult:
        """Send one instance to the peer on this association, as C-GET does.

        It goes as it is kept, or, where the peer takes it in no such transfer syntax, written in
        the other uncompressed one.
        """
        try:
            self._send_instance(instance, message_id)
        except (_NoContext, DataSetUnreadable) as error:
            return SendResult(
                sop_instance_uid=instance.sop_instance_uid,
                outcome=SendOutcome.REFUSED,
                detail=str(error),
            )
        command = self._response(message_id, _RESPONSE_SECONDS).command
        return answered(instance, command.status, command.error_comment)

    def _send_instance(self, instance: Outgoing, message_id: int) -> None:
        context = self._context_for(instance, [instance.transfer_syntax_uid])
        if context is not None:
            with instance.path.open("rb") as file:
                seek_data_set(file)
                self._send_store(context, instance, message_id, file)
            return
        context = self._context_for(instance, REENCODABLE)
        if context is None or instance.transfer_syntax_uid not in REENCODABLE:
            raise _NoContext(
                f"no context on which class {instance.sop_class_uid} in transfer syntax "
                f"{instance.transfer_syntax_uid} is taken"
            )
        syntaxes = instance.transfer_syntax_uid, context.transfer_syntax
        content = BytesIO(reencoded(instance.path, *syntaxes))
        self._send_store(context, instance, message_id, content)

    def _context_for(
        self, instance: Outgoing, transfer_syntaxes: Collection[str]
    ) -> PresentationContext | None:
        return next(
            (
                context
                for context in self._channel.acceptance.contexts.values()
                if context.takes_instances
                and context.abstract_syntax == instance.sop_class_uid
                and context.transfer_syntax in transfer_syntaxes
            ),
            None,
        )

    def _send_store(
        self, context: PresentationContext, instance: Outgoing, message_id: int, content: BinaryIO
    ) -> None:
        limit = self._channel.acceptance.maximum_pdu_bytes or _FRAGMENT_BYTES
        size = min(limit, _FRAGMENT_BYTES) - _CONTEXT_AND_CONTROL_BYTES
        self._channel.send(store_request(context.id, instance, message_id))
        fragment = content.read(size)
        while fragment:
            following = content.read(size)
            self._channel.send(data_fragment(context.id, fragment, is_last=not following))
            fragment = following

    def _response(self, message_id: int, timeout_seconds: float) -> M:
        """Return the peer's response to a request of ours; what else comes is kept for later."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            message = self._read()
            is_response = bool(message.command.field & IS_RESPONSE)
            if is_response and message.command.responded_to == message_id:
                return message
            self._take(message)
        raise PeerUnavailable("the peer gave no response in time")

    def _read(self) -> M:
        message = self._channel.read()
        if message is None:
            raise PeerUnavailable("the peer released the association in the middle of a request")
        return message

    def _take(self, message: M) -> None:
        if message.command.field == C_CANCEL_RQ:
            self._is_cancelled |= message.command.responded_to == self._message_id
        elif not message.command.field & IS_RESPONSE:
            self._channel.postpone(message)
