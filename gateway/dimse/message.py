"""DIMSE messages on the wire: commands in, responses out (PS3.7 section 6.3, annex E)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pynetdicom.dimse import _RQ_TO_MESSAGE, _RSP_TO_MESSAGE
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu import P_DATA_TF as DataPdu
from pynetdicom.pdu_primitives import P_DATA

from gateway.dicom.elements import PARSE_ERRORS
from gateway.dimse.connection import P_DATA_TF
from gateway.dimse.service import Primitive
from gateway.dimse.user import Outgoing
from gateway.errors import ProtocolViolated

C_STORE_RQ, C_STORE_RSP, C_CANCEL_RQ = 0x0001, 0x8001, 0x0FFF
IS_RESPONSE = 0x8000
_NO_DATA_SET = 0x0101
_LONGEST_ERROR_COMMENT = 64

_SOP_CLASS, _FIELD, _MESSAGE_ID, _RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
_PRIORITY, _DATA_SET_TYPE, _STATUS, _ERROR_COMMENT = 0x0700, 0x0800, 0x0900, 0x0902
_SOP_INSTANCE = 0x1000
_ELEMENT_HEADER = struct.Struct("<HHI")


@dataclass(frozen=True, slots=True)
class Command:
    """A command set: its elements by element number, all of group 0000."""

    encoded: bytes
    values: dict[int, bytes]

    @property
    def field(self) -> int:
        """Command Field: which message it is."""
        return self._number(_FIELD)

    @property
    def message_id(self) -> int:
        """Message ID of a request."""
        return self._number(_MESSAGE_ID)

    @property
    def responded_to(self) -> int:
        """Message ID that a response, or a C-CANCEL, speaks of."""
        return self._number(_RESPONDED_TO)

    @property
    def status(self) -> int:
        """Status of a response."""
        return self._number(_STATUS)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self._number(_DATA_SET_TYPE) != _NO_DATA_SET

    @property
    def sop_class_uid(self) -> str:
        """Affected SOP Class UID."""
        return self._text(_SOP_CLASS)

    @property
    def sop_instance_uid(self) -> str:
        """Affected SOP Instance UID."""
        return self._text(_SOP_INSTANCE)

    @property
    def error_comment(self) -> str:
        """Error Comment of a response, or nothing."""
        return self._text(_ERROR_COMMENT) if _ERROR_COMMENT in self.values else ""

    def _number(self, element: int) -> int:
        value = self.values.get(element, b"")
        if len(value) != 2:
            raise ProtocolViolated(f"a command without a valid element (0000,{element:04X})")
        return int.from_bytes(value, "little")

    def _text(self, element: int) -> str:
        raw = self.values.get(element, b"").rstrip(b"\x00 ")
        return raw.decode("ascii", "replace")


def read_command(encoded: bytes) -> Command:
    """Read a command set, which is always in Implicit VR Little Endian.

    Raises:
        ProtocolViolated: the bytes are no command set.
    """
    values: dict[int, bytes] = {}
    place, end = 0, len(encoded)
    while place < end:
        if place + 8 > end:
            raise ProtocolViolated("a command set that ends in the middle of an element")
        group, element, length = _ELEMENT_HEADER.unpack_from(encoded, place)
        place += 8 + length
        if group != 0x0000 or place > end:
            raise ProtocolViolated("a command set with elements that are none")
        values[element] = encoded[place - length : place]
    return Command(encoded, values)


def store_response(context_id: int, command: Command, status: int, comment: str = "") -> bytes:
    """Return the PDU that answers a C-STORE (PS3.7 section 9.3.1.2)."""
    return _command_pdu(
        context_id,
        _element(_SOP_CLASS, command.values.get(_SOP_CLASS, b"")),
        _element(_FIELD, C_STORE_RSP.to_bytes(2, "little")),
        _element(_RESPONDED_TO, command.values[_MESSAGE_ID]),
        _element(_DATA_SET_TYPE, _NO_DATA_SET.to_bytes(2, "little")),
        _element(_STATUS, status.to_bytes(2, "little")),
        _element(_ERROR_COMMENT, _comment(comment)) if comment else b"",
        _element(_SOP_INSTANCE, command.values.get(_SOP_INSTANCE, b"")),
    )


def store_request(context_id: int, instance: Outgoing, message_id: int) -> bytes:
    """Return the PDU of a C-STORE request's command (PS3.7 section 9.3.1.1)."""
    return _command_pdu(
        context_id,
        _element(_SOP_CLASS, _uid(instance.sop_class_uid)),
        _element(_FIELD, C_STORE_RQ.to_bytes(2, "little")),
        _element(_MESSAGE_ID, message_id.to_bytes(2, "little")),
        _element(_PRIORITY, bytes(2)),
        _element(_DATA_SET_TYPE, bytes(2)),
        _element(_SOP_INSTANCE, _uid(instance.sop_instance_uid)),
    )


def data_fragment(context_id: int, fragment: bytes, *, is_last: bool) -> bytes:
    """Return the PDU of one fragment of a data set (PS3.8 annex E)."""
    control = 0x02 if is_last else 0x00
    length = len(fragment) + 2
    return struct.pack(">BBIIBB", P_DATA_TF, 0, length + 4, length, context_id, control) + fragment


def primitive_of(context_id: int, command: Command, data_set: bytes) -> Primitive:
    """Return a message as one of pynetdicom's primitives.

    Raises:
        ProtocolViolated: the command is none of the standard's, or lacks what it needs.
    """
    fragments = P_DATA()
    values = [[context_id, b"\x03" + command.encoded]]
    if command.has_data_set:
        values.append([context_id, b"\x02" + data_set])
    fragments.presentation_data_value_list = values  # type: ignore[assignment]
    message = DIMSEMessage()
    try:
        message.decode_msg(fragments)
        return message.message_to_primitive()
    except PARSE_ERRORS as error:
        raise ProtocolViolated(f"a {command.field:04X}H command that is not understood") from error


def encoded_message(context_id: int, primitive: Primitive, maximum_bytes: int) -> Iterator[bytes]:
    """Give the PDUs of one of pynetdicom's primitives, none longer than the peer takes."""
    is_request = primitive.MessageIDBeingRespondedTo is None
    kinds = _RQ_TO_MESSAGE if is_request else _RSP_TO_MESSAGE
    message = kinds[type(primitive)]()
    message.primitive_to_message(primitive)
    for fragment in message.encode_msg(context_id, maximum_bytes):
        pdu = DataPdu()
        pdu.from_primitive(fragment)
        yield pdu.encode()


def _command_pdu(context_id: int, *elements: bytes) -> bytes:
    content = b"".join(elements)
    message = _element(0x0000, len(content).to_bytes(4, "little")) + content
    length = len(message) + 2
    return struct.pack(">BBIIBB", P_DATA_TF, 0, length + 4, length, context_id, 3) + message


def _uid(text: str) -> bytes:
    value = text.encode("ascii", "replace")
    return value + b"\x00" * (len(value) % 2)


def _element(number: int, value: bytes) -> bytes:
    return _ELEMENT_HEADER.pack(0, number, len(value)) + value


def _comment(text: str) -> bytes:
    """Return text as an Error Comment (LO: 64 characters, no backslash)."""
    value = text.encode("ascii", "replace").replace(b"\\", b"/")[:_LONGEST_ERROR_COMMENT]
    return value + b" " * (len(value) % 2)
