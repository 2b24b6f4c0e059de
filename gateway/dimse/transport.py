"""The TCP side of the DICOM port: shared by several processes, bounded per PDU."""

import socket
import sys
from typing import Any, cast

import structlog
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

_log = structlog.get_logger()

MAXIMUM_PDU_BYTES = 131_072
"""PDU length offered to peers (PS3.8 section D.1)."""
_LONGEST_PDU_BYTES = 1 << 20
"""No PDU of any type is longer: association requests of 128 contexts take some 30 kB."""
_ABORT_INVALID_PDU = bytes.fromhex("07 00 00000004 00 00 02 06")
"""A-ABORT by the service provider, invalid PDU parameter value (PS3.8 section 9.3.8)."""


class BoundedSocket(AssociationSocket):
    """A socket that reads into place, and aborts on a PDU longer than any can be."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Return ``nr_bytes``, or fewer where the peer closed the connection.

        Raises:
            ConnectionAbortedError: the peer announced a PDU beyond all limits.
        """
        connection = cast(socket.socket, self.socket)
        if nr_bytes > _LONGEST_PDU_BYTES:
            connection.sendall(_ABORT_INVALID_PDU)
            raise ConnectionAbortedError(f"the peer announced a PDU of {nr_bytes} bytes")
        received = bytearray(nr_bytes)
        view = memoryview(received)
        done = 0
        while done < nr_bytes:
            count = connection.recv_into(view[done:])
            if count == 0:
                break
            done += count
        view.release()
        del received[done:]
        return received


class BoundedRequestHandler(RequestHandler):
    """Gives every incoming connection a bounded socket with a timeout."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Each socket announces a connection; the association must hear of one only.
        association.dul.event_queue.get_nowait()
        association.dul.socket = BoundedSocket(association, client_socket=self.request)
        self.request.settimeout(self.ae.network_timeout)
        return association


class SharedPortServer(ThreadedAssociationServer):
    """An association server whose port several processes listen on (SO_REUSEPORT)."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "request_handler": BoundedRequestHandler})

    def server_bind(self) -> None:
        """Bind the port, shared with the receivers beside this one."""
        listener = cast(socket.socket, self.socket)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Log in one line a connection that ended before it became an association."""
        _log.warning("connection_failed", reason=repr(sys.exc_info()[1]))


def reserve_port(bind: str, port: int) -> socket.socket:
    """Return a socket that holds a shared port without listening on it.

    With port 0 the system chooses one; receivers then bind the same number.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((bind, port))
    return holder
