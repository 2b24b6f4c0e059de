"""Messages on the wire, held against pynetdicom's own reading and writing of them."""

import struct
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_FIND_RSP, C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_STORE
from pynetdicom.pdu import P_DATA_TF

from gateway.dimse.message import (
    data_fragment,
    encoded_message,
    primitive_of,
    read_command,
    store_request,
    store_response,
)
from gateway.dimse.user import Outgoing
from gateway.errors import ProtocolViolated
from tests.peers.wire import c_echo, c_store, c_store_elements, command_set, us
from tests.unit.store.samples import CT, EXPLICIT

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
INSTANCE = "2.25.2.1"
PDU_HEADER_BYTES, PDV_HEADER_BYTES = 6, 6


def message_of(*pdus: bytes) -> DIMSEMessage:
    """Read P-DATA-TF PDUs as pynetdicom does."""
    message = DIMSEMessage()
    is_whole = False
    for encoded in pdus:
        pdu = P_DATA_TF()
        pdu.decode(encoded)
        is_whole = message.decode_msg(pdu.to_primitive())
    assert is_whole
    return message


class TestCommand:
    def test_a_request_is_read(self) -> None:
        command = read_command(c_store(7, CT, INSTANCE))
        assert (command.field, command.message_id) == (0x0001, 7)
        assert (command.sop_class_uid, command.sop_instance_uid) == (CT, INSTANCE)
        assert command.has_data_set

    def test_a_request_without_a_data_set_says_so(self) -> None:
        assert not read_command(c_echo(1)).has_data_set

    def test_a_response_is_read(self) -> None:
        elements = {0x0100: us(0x8001), 0x0120: us(7), 0x0900: us(0xA700), 0x0902: b"no space"}
        command = read_command(command_set(elements))
        assert (command.field, command.responded_to) == (0x8001, 7)
        assert (command.status, command.error_comment) == (0xA700, "no space")

    @pytest.mark.parametrize("missing", [0x0100, 0x0110, 0x0800])
    def test_what_it_cannot_do_without_is_asked_for(self, missing: int) -> None:
        elements = c_store_elements(7, CT, INSTANCE)
        del elements[missing]
        command = read_command(command_set(elements))
        with pytest.raises(ProtocolViolated, match=f"0000,{missing:04X}"):
            _ = command.field, command.message_id, command.has_data_set

    def test_one_that_is_cut_short_anywhere_is_refused_or_lacks_its_end(self) -> None:
        whole = c_store(7, CT, INSTANCE)
        for length in range(len(whole)):
            try:
                command = read_command(whole[:length])
            except ProtocolViolated:
                continue
            assert 0x1000 not in command.values

    def test_elements_of_another_group_are_refused(self) -> None:
        with pytest.raises(ProtocolViolated):
            read_command(struct.pack("<HHI", 8, 0x16, 2) + b"1.")

    def test_a_name_that_is_no_text_does_no_harm(self) -> None:
        elements = c_store_elements(7, CT, INSTANCE) | {0x1000: b"\xff\xfe"}
        assert read_command(command_set(elements)).sop_instance_uid == "\ufffd\ufffd"


class TestStoreResponse:
    def test_success_repeats_what_was_asked(self) -> None:
        command = read_command(c_store(65535, CT, INSTANCE))
        answer = message_of(store_response(3, command, 0x0000))
        assert isinstance(answer, C_STORE_RSP)
        assert answer.context_id == 3
        response = answer.message_to_primitive()
        assert isinstance(response, C_STORE)
        assert (response.MessageIDBeingRespondedTo, response.Status) == (65535, 0x0000)
        assert response.AffectedSOPClassUID == CT
        assert response.AffectedSOPInstanceUID == INSTANCE
        assert "ErrorComment" not in answer.command_set

    def test_a_refusal_says_why(self) -> None:
        command = read_command(c_store(1, CT, INSTANCE))
        answer = message_of(store_response(1, command, 0xA700, "4 GB free is too little"))
        assert answer.command_set.Status == 0xA700
        assert answer.command_set.ErrorComment == "4 GB free is too little"

    @pytest.mark.parametrize("comment", ["x" * 200, "a\\b", "größer als erlaubt"])
    def test_a_comment_is_made_to_fit_the_attribute(self, comment: str) -> None:
        command = read_command(c_store(1, CT, INSTANCE))
        answer = message_of(store_response(1, command, 0xC000, comment))
        written = answer.command_set.ErrorComment
        assert isinstance(written, str)
        assert 0 < len(written) <= 64
        assert written.isascii()


class TestStoreRequest:
    def test_it_is_what_pynetdicom_reads(self) -> None:
        instance = Outgoing(
            path=Path("unused"),
            sop_instance_uid=INSTANCE,
            sop_class_uid=CT,
            transfer_syntax_uid=EXPLICIT,
        )
        request = message_of(
            store_request(5, instance, 9),
            data_fragment(5, b"the beginning ", is_last=False),
            data_fragment(5, b"and the end", is_last=True),
        )
        assert isinstance(request, C_STORE_RQ)
        primitive = request.message_to_primitive()
        assert isinstance(primitive, C_STORE)
        assert (primitive.MessageID, primitive.AffectedSOPInstanceUID) == (9, INSTANCE)
        assert primitive.DataSet is not None
        assert primitive.DataSet.getvalue() == b"the beginning and the end"


class TestPrimitives:
    def test_a_request_becomes_the_librarys_primitive(self) -> None:
        primitive = primitive_of(1, read_command(c_echo(12)), b"")
        assert isinstance(primitive, C_ECHO)
        assert primitive.MessageID == 12

    def test_a_command_that_nobody_knows_is_refused(self) -> None:
        command = read_command(command_set({0x0100: us(0x0777), 0x0110: us(1), 0x0800: us(0x0101)}))
        with pytest.raises(ProtocolViolated, match="0777H"):
            primitive_of(1, command, b"")

    @pytest.mark.parametrize("limit", [64, 1024, 16384, 0], ids=["64", "1k", "16k", "unlimited"])
    def test_no_pdu_of_a_response_is_longer_than_the_peer_takes(self, limit: int) -> None:
        response = C_FIND()
        response.MessageIDBeingRespondedTo = 4
        response.AffectedSOPClassUID = UID(FIND)
        response.Status = 0xFF00
        response.Identifier = BytesIO(bytes(range(256)) * 40)

        pdus = list(encoded_message(1, response, limit))

        read = message_of(*pdus)
        assert isinstance(read, C_FIND_RSP)
        assert read.data_set is not None
        assert read.data_set.getvalue() == bytes(range(256)) * 40
        if limit:
            assert max(map(len, pdus)) - PDU_HEADER_BYTES <= limit
