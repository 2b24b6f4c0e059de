"""The listening socket of the DICOM port: shared by several processes, a thread per connection."""

import errno
import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Callable

import structlog

_log = structlog.get_logger()
_WAITING_CONNECTIONS = 128
_PAUSE_SECONDS = 0.1
_LOOK_MICROSECONDS = 200_000

Serve = Callable[[socket.socket, str], None]
"""Serves one connection of a host, and closes it."""


class Listener:
    """Accepts connections on a port that several processes share.

    Processes of one supervisor share its socket: a connection goes to the one that waits longest,
    and none is lost with a process that dies. Others have a socket of their own for the same port
    (SO_REUSEPORT).

    No more than ``most_connections`` are served at once; beyond them a connection is closed
    as soon as it is made, so that threads and file descriptors are bounded.
    """

    def __init__(
        self,
        bind: str,
        port: int,
        serve: Serve,
        most_connections: int,
        shared: socket.socket | None = None,
    ) -> None:
        self._serve = serve
        self._room = threading.Semaphore(most_connections)
        self._is_shared = shared is not None
        self._is_stopped = False
        self._socket = shared or reserve_port(bind, port)
        self._thread = threading.Thread(target=self._accept, name="dicom-port", daemon=True)

    def start(self) -> None:
        """Listen, in threads of this process."""
        if not self._is_shared:
            listen(self._socket)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; what is connected stays so, and so does a socket that is shared."""
        self._is_stopped = True
        if not self._is_shared:
            stop_listening(self._socket)
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while not self._is_stopped:
            try:
                connection, address = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                if self._socket.fileno() < 0 or error.errno in (errno.EINVAL, errno.EBADF):
                    return
                # Out of descriptors: those in use end, and then there is room again.
                _log.error("connection_not_accepted", reason=error.strerror)
                time.sleep(_PAUSE_SECONDS)
                continue
            self._start(connection, host_of(str(address[0])))

    def _start(self, connection: socket.socket, host: str) -> None:
        if not self._room.acquire(blocking=False):
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = f"dicom {host}"
        threading.Thread(target=self._run, args=(connection, host), name=name, daemon=True).start()

    def _run(self, connection: socket.socket, host: str) -> None:
        try:
            self._serve(connection, host)
        finally:
            connection.close()
            self._room.release()


def host_of(address: str) -> str:
    """Return a peer's address; on a socket of both families, IPv4's in its own notation."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def listen(holder: socket.socket) -> None:
    """Listen on a reserved port; whoever accepts looks up now and then (SO_RCVTIMEO)."""
    look = struct.pack("@ll", 0, _LOOK_MICROSECONDS)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, look)
    holder.listen(_WAITING_CONNECTIONS)


def stop_listening(holder: socket.socket) -> None:
    """Take no more connections, in all processes that share the socket."""
    try:
        holder.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        _log.debug("listener_was_not_listening", reason=error.strerror)


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
