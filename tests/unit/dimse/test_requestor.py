"""Associations that the node opens: a response is for the request that waits for it."""

import socket
import time
from collections.abc import Iterator

import pytest
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO

from gateway.dimse.requestor import association, requestor
from tests.unit.dimse.peer import VERIFICATION, StoringPeer


@pytest.fixture
def opened() -> Iterator[Association]:
    entity = requestor("GATEWAY")
    entity.add_requested_context(VERIFICATION)
    with StoringPeer() as peer, association(entity, peer.node) as established:
        yield established


def message(*, is_response: bool) -> C_ECHO:
    primitive = C_ECHO()
    if is_response:
        primitive.MessageIDBeingRespondedTo = 1
        primitive.Status = 0x0000
    else:
        primitive.MessageID = 1
    return primitive


def test_nobody_else_takes_a_response(opened: Association) -> None:
    """pynetdicom's own thread looks into the queue a thousand times a second."""
    response = message(is_response=True)
    opened.dimse.msg_queue.put((1, response))
    time.sleep(0.1)
    assert opened.dimse.get_msg(block=True) == (1, response)


def test_a_request_of_the_peer_is_not_left_lying(opened: Association) -> None:
    opened.dimse.msg_queue.put((1, message(is_response=False)))
    time.sleep(0.1)
    assert opened.dimse.msg_queue.empty()
    assert opened.is_established


def test_a_request_is_answered(opened: Association) -> None:
    assert opened.send_c_echo().Status == 0x0000


def test_a_data_set_does_not_wait_for_the_acknowledgement_of_its_command(
    opened: Association,
) -> None:
    assert opened.dul.socket is not None
    connection = opened.dul.socket.socket
    assert connection is not None
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
