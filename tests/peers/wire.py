"""A blocking DIMSE peer whose every byte a test decides, and which costs little to run."""

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import build_context

from tests.peers.raw import Answer, Part10

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
ECHO_CONTEXT = (VERIFICATION, IMPLICIT)

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
RELEASE_RQ_PDU = bytes.fromhex("05 00 00000004 00000000")
ABORT_PDU = bytes.fromhex("07 00 00000004 00000000")

_COMMAND, _LAST = 1, 2
_NO_DATA_SET = 0x0101
_FRAGMENT_BYTES = 16_000
_UNLIMITED = 1 << 30

UserInformation = (
    AsynchronousOperationsWindowNegotiation
    | SCP_SCU_RoleSelectionNegotiation
    | UserIdentityNegotiation
)
Context = tuple[str, str]
"""A class and the one transfer syntax proposed for it."""


class Closed(ConnectionError):
    """The node closed or aborted the connection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pdu:
    """One protocol data unit as it came (PS3.8 section 9.3)."""

    kind: int
    body: bytes


class Wire:
    """A TCP connection to the node, with or without an association."""

    def __init__(self, port: int, *, timeout: float = 30) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._contexts: dict[Context, int] = {}
        self._fragment_bytes = _FRAGMENT_BYTES
        self._message_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        """Put bytes on the wire."""
        self.socket.sendall(content)

    def read(self) -> Pdu:
        """Return the next PDU.

        Raises:
            Closed: the connection ended instead.
        """
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return Pdu(kind=kind, body=self._exactly(length))

    def rest(self) -> bytes:
        """Return what comes until the node closes; a reset ends it too."""
        content = bytearray()
        try:
            while part := self.socket.recv(65536):
                content += part
        except ConnectionError:
            pass
        return bytes(content)

    def associate(
        self,
        contexts: Sequence[Context],
        *,
        calling: str = "MODALITY",
        called: str = "GATEWAY",
        items: Sequence[UserInformation] = (),
    ) -> A_ASSOCIATE_AC:
        """Open an association, with items of user information if any; return the answer.

        Raises:
            Closed: it was rejected, or the connection ended.
        """
        self.send(associate_request(contexts, calling=calling, called=called, items=items))
        answer = self.read()
        if answer.kind != ASSOCIATE_AC:
            raise Closed(f"PDU {answer.kind} answers the association request")
        accepted = A_ASSOCIATE_AC()
        accepted.decode(struct.pack(">BxI", answer.kind, len(answer.body)) + answer.body)
        taken = {item.context_id for item in accepted.presentation_context if item.result == 0}
        self._contexts = {
            context: number for number, context in numbered(contexts) if number in taken
        }
        most = accepted.user_information.maximum_length if accepted.user_information else 0
        self._fragment_bytes = min(_FRAGMENT_BYTES, (most or _UNLIMITED) - 6)
        return accepted

    def echo(self) -> int:
        """Verify the node and return the status."""
        message_id = self._next()
        self.send(p_data(self._contexts[ECHO_CONTEXT], c_echo(message_id), is_command=True))
        return self._response(message_id)[0]

    def store(self, item: Part10) -> Answer:
        """Send one object and return what the response says."""
        message_id = self._next()
        self.send(self.message(item, message_id))
        status, comment = self._response(message_id)
        return Answer(status=status, comment=comment)

    def message(self, item: Part10, message_id: int) -> bytes:
        """Return all PDUs of a C-STORE request."""
        context = self._contexts[item.sop_class_uid, item.transfer_syntax_uid]
        command = c_store(message_id, item.sop_class_uid, item.sop_instance_uid)
        parts = [p_data(context, command, is_command=True)]
        step = self._fragment_bytes
        for start in range(0, max(1, len(item.data_set)), step):
            is_last = start + step >= len(item.data_set)
            fragment = item.data_set[start : start + step]
            parts.append(p_data(context, fragment, is_last=is_last))
        return b"".join(parts)

    def release(self) -> None:
        """Release the association and close."""
        self.send(RELEASE_RQ_PDU)
        assert self.read().kind == RELEASE_RP
        self.socket.close()

    def _response(self, message_id: int) -> tuple[int, str]:
        answer = self.read()
        if answer.kind != P_DATA:
            raise Closed(f"PDU {answer.kind} answers message {message_id}")
        said = command_elements(answer.body[6:])
        assert struct.unpack("<H", said[0x0120])[0] == message_id, "the response is to another"
        comment = said.get(0x0902, b"").decode("ascii").rstrip(" \0")
        return struct.unpack("<H", said[0x0900])[0], comment

    def _next(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _exactly(self, length: int) -> bytes:
        content = bytearray()
        while len(content) < length:
            part = self.socket.recv(length - len(content))
            if not part:
                raise Closed(f"closed after {len(content)} of {length} bytes")
            content += part
        return bytes(content)


def numbered(contexts: Sequence[Context]) -> Iterator[tuple[int, Context]]:
    """Give every presentation context its identifier, which is odd (PS3.8 section 9.3.2.2)."""
    return ((2 * place + 1, context) for place, context in enumerate(contexts))


def associate_request(
    contexts: Sequence[Context],
    *,
    calling: str = "MODALITY",
    called: str = "GATEWAY",
    items: Sequence[UserInformation] = (),
) -> bytes:
    """Return an A-ASSOCIATE-RQ PDU, with more items of user information if any."""
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = UID("2.25.11112")
    request = A_ASSOCIATE()
    request.application_context_name = UID("1.2.840.10008.3.1.1.1")
    request.calling_ae_title = calling
    request.called_ae_title = called
    request.user_information = [length, implementation, *items]
    proposed = []
    for number, (sop_class_uid, transfer_syntax_uid) in numbered(contexts):
        context = build_context(sop_class_uid, transfer_syntax_uid)
        context.context_id = number
        proposed.append(context)
    request.presentation_context_definition_list = proposed
    return A_ASSOCIATE_RQ(request).encode()


def pdu(kind: int, body: bytes) -> bytes:
    """Return a PDU of any kind around a body."""
    return struct.pack(">BxI", kind, len(body)) + body


def pdv(context: int, control: int, fragment: bytes) -> bytes:
    """Return one presentation data value item (PS3.8 section 9.3.5.1)."""
    return struct.pack(">IBB", len(fragment) + 2, context, control) + fragment


def p_data(
    context: int, fragment: bytes, *, is_command: bool = False, is_last: bool = True
) -> bytes:
    """Return a P-DATA-TF PDU with one fragment."""
    control = _COMMAND * is_command | _LAST * is_last
    return pdu(P_DATA, pdv(context, control, fragment))


def command_set(elements: Mapping[int, bytes]) -> bytes:
    """Encode a command set: elements of group 0000 with its length (PS3.7 section 6.3)."""
    body = b"".join(
        struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements.items()
    )
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def command_elements(content: bytes) -> dict[int, bytes]:
    """Return the values of a command set by element number."""
    found, place = {}, 0
    while place < len(content):
        _, number, length = struct.unpack_from("<HHI", content, place)
        found[number] = content[place + 8 : place + 8 + length]
        place += 8 + length
    return found


def c_echo_elements(message_id: int) -> dict[int, bytes]:
    """Return the elements of a C-ECHO-RQ (PS3.7 section 9.3.5.1)."""
    return {
        0x0002: uid(VERIFICATION),
        0x0100: us(0x0030),
        0x0110: us(message_id),
        0x0800: us(_NO_DATA_SET),
    }


def c_echo(message_id: int) -> bytes:
    """Return the command set of a C-ECHO-RQ."""
    return command_set(c_echo_elements(message_id))


def c_store_elements(
    message_id: int, sop_class_uid: str, sop_instance_uid: str
) -> dict[int, bytes]:
    """Return the elements of a C-STORE-RQ (PS3.7 section 9.3.1.1)."""
    return {
        0x0002: uid(sop_class_uid),
        0x0100: us(0x0001),
        0x0110: us(message_id),
        0x0700: us(0),
        0x0800: us(0x0001),
        0x1000: uid(sop_instance_uid),
    }


def c_store(message_id: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """Return the command set of a C-STORE-RQ."""
    return command_set(c_store_elements(message_id, sop_class_uid, sop_instance_uid))


def us(number: int) -> bytes:
    """Encode an unsigned short."""
    return struct.pack("<H", number)


def uid(text: str) -> bytes:
    """Encode a UID, padded to an even length."""
    return text.encode() + b"\0" * (len(text) % 2)
