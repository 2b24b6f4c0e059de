"""Messages between the gateway and a model's process: JSON, with arrays in shared memory.

A message is a length (4 bytes, big-endian), a JSON object of that many bytes, and one anonymous
memory file (memfd) per array, passed as file descriptor beside the length. Nothing has a name in
any file system, so nothing is left behind however either side ends, and nothing is ever
unpickled.
"""

import fcntl
import json
import mmap
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_LENGTH = struct.Struct("!I")
_MAX_HEADER_BYTES = 1 << 20
_MAX_ARRAYS = 8
_DTYPES = frozenset({"uint8", "uint16", "int16", "float32", "float64"})
# Neither side can pull memory away from under the other's mapping.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class ConnectionLost(Exception):
    """The other side closed the socket, or sent what is no message."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Message:
    """A kind, fields that JSON can hold, and arrays."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Sequence[npt.NDArray[Any]] = ()


def send(connection: socket.socket, message: Message) -> None:
    """Send one message; raises ConnectionLost when the other side is gone."""
    header = {
        "kind": message.kind,
        "fields": dict(message.fields),
        "arrays": [{"dtype": a.dtype.name, "shape": a.shape} for a in message.arrays],
    }
    body = json.dumps(header).encode()
    memories: list[int] = []
    try:
        memories.extend(_to_memory(array) for array in message.arrays)
        socket.send_fds(connection, [_LENGTH.pack(len(body))], memories)
        connection.sendall(body)
    except TimeoutError:
        raise
    except OSError as error:
        raise ConnectionLost(f"the message could not be sent: {error.strerror}") from error
    finally:
        for memory in memories:
            os.close(memory)


def receive(connection: socket.socket) -> Message:
    """Wait for one message; its arrays are views of shared memory that may be written to.

    Raises ConnectionLost at the end of the connection, and TimeoutError when the socket has a
    time limit.
    """
    try:
        start, memories, _, _ = socket.recv_fds(connection, _LENGTH.size, _MAX_ARRAYS)
        try:
            (length,) = _LENGTH.unpack(start + _exactly(connection, _LENGTH.size - len(start)))
            if length > _MAX_HEADER_BYTES:
                raise ConnectionLost(f"a message announces {length} bytes of text")
            header = json.loads(_exactly(connection, length))
            arrays = [
                _from_memory(memory, form["dtype"], form["shape"])
                for memory, form in zip(memories, header["arrays"], strict=True)
            ]
            return Message(kind=header["kind"], fields=header["fields"], arrays=arrays)
        finally:
            for memory in memories:
                os.close(memory)
    except TimeoutError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConnectionLost(f"what came is no message: {type(error).__name__}") from error


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionLost("the other side closed the connection")
        received += part
    return bytes(received)


def _to_memory(array: npt.NDArray[Any]) -> int:
    memory = os.memfd_create("array", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, max(array.nbytes, 1))
    with mmap.mmap(memory, max(array.nbytes, 1)) as mapped:
        view = np.frombuffer(mapped, dtype=array.dtype, count=array.size).reshape(array.shape)
        view[...] = array
        del view
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
    return memory


def _from_memory(memory: int, dtype: str, shape: Sequence[int]) -> npt.NDArray[Any]:
    if dtype not in _DTYPES or min(shape, default=1) < 0:
        raise ValueError(f"an array of {dtype} {shape} is not allowed")
    count = int(np.prod(shape, dtype=np.int64))
    size = os.fstat(memory).st_size
    if size < count * np.dtype(dtype).itemsize:
        raise ValueError("the memory is smaller than the array")
    # The mapping lives as long as the array that is made of it.
    return np.frombuffer(mmap.mmap(memory, size), dtype=dtype, count=count).reshape(shape)
