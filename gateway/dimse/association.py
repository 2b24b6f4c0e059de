"""An accepted association: it reads messages, and has each one answered by its service."""

import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import structlog

from gateway.dimse.connection import ABORT, P_DATA_TF, RELEASE_RP, RELEASE_RQ, Connection
from gateway.dimse.exchange import ServedRequest
from gateway.dimse.message import (
    C_CANCEL_RQ,
    C_STORE_RQ,
    IS_RESPONSE,
    Command,
    primitive_of,
    read_command,
    store_response,
)
from gateway.dimse.negotiation import Acceptance
from gateway.dimse.service import PresentationContext, Service
from gateway.dimse.storage import IncomingInstance
from gateway.errors import PeerUnavailable, ProtocolViolated

_log = structlog.get_logger()
_LONGEST_COMMAND_BYTES = 1 << 16
_LONGEST_IDENTIFIER_BYTES = 1 << 24
_MOST_WAITING_MESSAGES = 64
_IS_COMMAND, _IS_LAST = 0x01, 0x02
_VALUE_HEADER = struct.Struct(">IBB")

BeginInstance = Callable[[PresentationContext, Command], IncomingInstance]


@dataclass(slots=True)
class _Identifier:
    """The data set of a request other than C-STORE, which is small."""

    content: bytearray

    def write(self, fragment: memoryview) -> None:
        if len(self.content) + len(fragment) > _LONGEST_IDENTIFIER_BYTES:
            raise ProtocolViolated("an identifier that is longer than any may be")
        self.content += fragment

    def discard(self) -> None:
        self.content.clear()


@dataclass(frozen=True, slots=True)
class _Message:
    """A whole message, its data set read: to a file for C-STORE, else to memory."""

    context: PresentationContext
    command: Command
    content: IncomingInstance | _Identifier

    @property
    def data_set(self) -> bytes:
        return bytes(self.content.content) if isinstance(self.content, _Identifier) else b""


class Association:
    """One accepted association, run by the thread of its connection."""

    def __init__(
        self,
        connection: Connection,
        acceptance: Acceptance,
        services: Mapping[str, Service],
        begin_instance: BeginInstance,
        executor: Executor,
    ) -> None:
        self.acceptance = acceptance
        self._connection = connection
        self._services = services
        self._begin_instance = begin_instance
        self._executor = executor
        self._in_flight = threading.Semaphore(acceptance.window)
        self._values = self._presentation_data_values()
        self._unfinished: IncomingInstance | _Identifier | None = None
        self._waiting: deque[_Message] = deque()

    def run(self) -> None:
        """Serve until the peer releases the association.

        Raises:
            PeerUnavailable: the connection ended, or stayed silent for too long.
            ProtocolViolated: the peer sent what makes no sense here.
        """
        try:
            while (message := self._next()) is not None:
                self._serve(message)
        finally:
            if self._unfinished is not None:
                self._unfinished.discard()
            for message in self._waiting:
                message.content.discard()
            self._await_stores()
        self._connection.send(bytes((RELEASE_RP, 0, 0, 0, 0, 4, 0, 0, 0, 0)))

    def send(self, *pdus: bytes) -> None:
        """Send PDUs to the peer."""
        self._connection.send(*pdus)

    def has_input(self) -> bool:
        """Tell whether the peer sent something that is not read yet."""
        return self._connection.has_input()

    def read(self) -> _Message | None:
        """Return the next message, or nothing where the peer releases the association."""
        command, context = self._read_command()
        if command is None or context is None:
            return None
        content = self._content(context, command)
        self._unfinished = content
        if command.has_data_set:
            self._read_data_set(context, content)
        self._unfinished = None
        return _Message(context, command, content)

    def postpone(self, message: _Message) -> None:
        """Leave a message that came during another for later.

        Raises:
            ProtocolViolated: the peer does not wait for answers at all.
        """
        if len(self._waiting) >= _MOST_WAITING_MESSAGES:
            raise ProtocolViolated("more requests at once than were agreed on")
        self._waiting.append(message)

    def _next(self) -> _Message | None:
        return self._waiting.popleft() if self._waiting else self.read()

    def _serve(self, message: _Message) -> None:
        if isinstance(message.content, IncomingInstance):
            self._store(message.content)
        elif message.command.field != C_CANCEL_RQ and not message.command.field & IS_RESPONSE:
            self._serve_request(message)

    def _serve_request(self, message: _Message) -> None:
        service = self._services.get(message.context.abstract_syntax)
        if service is None:
            raise ProtocolViolated(
                f"a {message.command.field:04X}H request on a context of "
                f"{message.context.abstract_syntax}"
            )
        request = primitive_of(message.context.id, message.command, message.data_set)
        service.serve(ServedRequest(self, message.context, message.command.message_id), request)

    def _store(self, incoming: IncomingInstance) -> None:
        """Keep an instance and answer; beside the next one where the peer agreed on several."""
        self._in_flight.acquire()
        if self.acceptance.window == 1:
            self._keep(incoming)
        else:
            self._executor.submit(self._keep_beside, incoming)

    def _keep(self, incoming: IncomingInstance) -> None:
        try:
            status, comment = incoming.keep()
            self.send(store_response(incoming.context.id, incoming.command, status, comment))
        finally:
            self._in_flight.release()

    def _keep_beside(self, incoming: IncomingInstance) -> None:
        try:
            self._keep(incoming)
        except PeerUnavailable:
            # The reader of this connection meets the same end, and reports it.
            self._connection.interrupt()
        except Exception:  # noqa: BLE001 - the job's outermost layer
            # Without an answer the peer must not wait for one.
            _log.exception("store_broke", sop_instance_uid=incoming.command.sop_instance_uid)
            self._connection.interrupt()

    def _await_stores(self) -> None:
        for _ in range(self.acceptance.window):
            self._in_flight.acquire()

    def _content(
        self, context: PresentationContext, command: Command
    ) -> IncomingInstance | _Identifier:
        if command.field != C_STORE_RQ:
            return _Identifier(bytearray())
        _ = command.message_id
        return self._begin_instance(context, command)

    def _read_command(self) -> tuple[Command, PresentationContext] | tuple[None, None]:
        encoded = bytearray()
        for context_id, control, fragment in self._values:
            if not control & _IS_COMMAND:
                raise ProtocolViolated("a data set without a command")
            encoded += fragment
            if len(encoded) > _LONGEST_COMMAND_BYTES:
                raise ProtocolViolated("a command set that is longer than any may be")
            if control & _IS_LAST:
                return read_command(bytes(encoded)), self._context(context_id)
        if encoded:
            raise ProtocolViolated("a release in the middle of a command")
        return None, None

    def _read_data_set(
        self, context: PresentationContext, content: IncomingInstance | _Identifier
    ) -> None:
        for context_id, control, fragment in self._values:
            if control & _IS_COMMAND or context_id != context.id:
                raise ProtocolViolated("a command in the middle of a data set")
            content.write(fragment)
            if control & _IS_LAST:
                return
        raise ProtocolViolated("a release in the middle of a data set")

    def _context(self, context_id: int) -> PresentationContext:
        if context_id not in self.acceptance.contexts:
            raise ProtocolViolated(f"presentation context {context_id} was not accepted")
        return self.acceptance.contexts[context_id]

    def _presentation_data_values(self) -> Iterator[tuple[int, int, memoryview]]:
        """Give (context, control header, fragment) until the peer releases the association."""
        while True:
            pdu = self._connection.read()
            if pdu.type == RELEASE_RQ:
                return
            if pdu.type == ABORT:
                raise PeerUnavailable("the peer aborted the association")
            if pdu.type != P_DATA_TF:
                raise ProtocolViolated(f"a PDU of type {pdu.type:02X}H inside an association")
            yield from _split(pdu.body)


def _split(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Give the presentation data values of a P-DATA-TF (PS3.8 section 9.3.5.1)."""
    place, end = 0, len(body)
    if not end:
        raise ProtocolViolated("a P-DATA-TF without a value")
    while place < end:
        if end - place < _VALUE_HEADER.size:
            raise ProtocolViolated("a presentation data value that ends in its header")
        length, context_id, control = _VALUE_HEADER.unpack_from(body, place)
        start, place = place + _VALUE_HEADER.size, place + 4 + length
        if length < 2 or place > end:
            raise ProtocolViolated("a presentation data value that is longer than its PDU")
        yield context_id, control, body[start:place]
