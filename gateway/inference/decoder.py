"""The process that decodes slices into a volume in shared memory.

Run by `gateway.inference.decoders` as ``python -m gateway.inference.decoder FD``, where FD is one
end of a Unix socket pair. The codecs hold the interpreter's lock while they decode, so that only
processes decode side by side; and what makes one of them crash costs no more than this process.
"""

import json
import mmap
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gateway.errors import DataSetUnreadable, InputRefused
from gateway.inference.child import outlive_signals_but_not_the_parent
from gateway.inference.slices import FileSlices, Slice, decode_into

_LENGTH = struct.Struct("!I")
_NICENESS = 5
"""Receivers, and models that compute, come first where there are too few processors for all."""


def main() -> None:
    """Serve one parent on the socket whose file descriptor is the only argument."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    outlive_signals_but_not_the_parent(connection)
    os.nice(_NICENESS)
    serve(connection)


def serve(connection: socket.socket) -> None:
    """Say that this process is ready, then decode what each request names.

    It ends when the parent closes the socket.
    """
    send_json(connection, {})
    while True:
        begin, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
        if not begin:
            return
        try:
            request = json.loads(exactly(connection, _LENGTH.unpack(begin)[0]))
            answer = _answer(request, descriptors[0])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        send_json(connection, answer)


def send_json(connection: socket.socket, value: object, descriptors: tuple[int, ...] = ()) -> None:
    """Send a value after its length, with file descriptors beside it."""
    body = json.dumps(value).encode()
    socket.send_fds(connection, [_LENGTH.pack(len(body))], descriptors)
    connection.sendall(body)


def receive_json(connection: socket.socket) -> Any:
    """Return the value that the other side sent; raises EOFError when it is gone."""
    return json.loads(exactly(connection, _LENGTH.unpack(exactly(connection, _LENGTH.size))[0]))


def exactly(connection: socket.socket, length: int) -> bytes:
    """Receive so many bytes; raises EOFError when the other side is gone."""
    content = bytearray()
    while len(content) < length:
        received = connection.recv(length - len(content))
        if not received:
            raise EOFError
        content += received
    return bytes(content)


def _answer(request: dict[str, Any], descriptor: int) -> dict[str, Any]:
    """Decode into the memory of a descriptor; say why where a file is refused."""
    # The mapping goes with the last array that looks at it.
    array = np.frombuffer(mmap.mmap(descriptor, 0), dtype=np.float32).reshape(request["shape"])
    try:
        for path, slices in request["files"]:
            decode_into(array, FileSlices(path=Path(path), slices=_slices(slices)))
    except InputRefused as error:
        names = ("detail", "reason", "instances")
        return {"refused": {name: getattr(error, name) for name in names}}
    except DataSetUnreadable as error:
        return {"unreadable": str(error)}
    return {}


def _slices(values: list[Any]) -> tuple[Slice, ...]:
    return tuple(map(Slice.from_json, values))


if __name__ == "__main__":
    main()
