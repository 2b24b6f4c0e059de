"""Messages with arrays in shared memory, and what is no message."""

import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway.inference.wire import ConnectionLost, Message, receive, send

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(5)
        yield ours, theirs


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_a_message_arrives_as_it_was_sent(pair: Pair, dtype: str) -> None:
    array = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    send(pair[0], Message(kind="label", fields={"affine": [[1.5, 2]]}, arrays=[array, array[0]]))
    arrived = receive(pair[1])
    assert (arrived.kind, arrived.fields) == ("label", {"affine": [[1.5, 2]]})
    assert [a.dtype for a in arrived.arrays] == [np.dtype(dtype)] * 2
    assert np.array_equal(arrived.arrays[0], array)
    assert np.array_equal(arrived.arrays[1], array[0])


def test_an_array_in_any_memory_order_and_an_empty_one_arrive(pair: Pair) -> None:
    turned = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    send(pair[0], Message(kind="a", arrays=[turned, np.empty((0, 3), np.uint8)]))
    first, second = receive(pair[1]).arrays
    assert np.array_equal(first, turned)
    assert second.shape == (0, 3)


def test_an_array_outlives_its_message_and_no_descriptor_stays_open(pair: Pair) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        send(pair[0], Message(kind="a", arrays=[np.ones(10_000)]))
        array = receive(pair[1]).arrays[0]
        del array
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_several_messages_in_a_row_stay_apart(pair: Pair) -> None:
    for number in range(3):
        send(pair[0], Message(kind=f"m{number}", arrays=[np.full(3, number, np.uint8)]))
    for number in range(3):
        arrived = receive(pair[1])
        assert arrived.kind == f"m{number}"
        assert list(arrived.arrays[0]) == [number] * 3


def test_the_end_of_the_connection_is_an_error(pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(ConnectionLost):
        receive(pair[1])
    with pytest.raises(ConnectionLost):
        send(pair[1], Message(kind="a"))


def test_a_silent_peer_runs_into_the_time_limit(pair: Pair) -> None:
    pair[1].settimeout(0.05)
    with pytest.raises(TimeoutError):
        receive(pair[1])


def form(dtype: str, shape: list[int]) -> bytes:
    arrays = [{"dtype": dtype, "shape": shape}]
    return json.dumps({"kind": "a", "fields": {}, "arrays": arrays}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"no json at all",
        b"[]",
        b'{"kind": "a"}',
        form("uint8", [5000]),  # more than the memory holds
        form("uint8", [-1]),
        form("object", [1]),
    ],
)
def test_what_is_no_message_is_an_error(pair: Pair, body: bytes) -> None:
    memory = os.memfd_create("array")
    os.ftruncate(memory, 16)
    socket.send_fds(pair[0], [struct.pack("!I", len(body))], [memory])
    os.close(memory)
    pair[0].sendall(body)
    with pytest.raises(ConnectionLost):
        receive(pair[1])


def test_an_endless_header_is_an_error(pair: Pair) -> None:
    pair[0].sendall(struct.pack("!I", 1 << 31))
    with pytest.raises(ConnectionLost, match="announces"):
        receive(pair[1])
