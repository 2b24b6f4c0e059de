"""One connection of the DICOM port: PDUs in and out, by plain blocking calls."""

import select
import socket
import ssl
import struct
import threading
import time
from typing import NamedTuple

from gateway.errors import PeerUnavailable, ProtocolViolated

MAXIMUM_PDU_BYTES = 262_144
"""PDU length offered to peers (PS3.8 section D.1)."""
MOST_IN_FLIGHT = 16
"""Operations that one association may have under way, where the peer asks for several."""
_LONGEST_PDU_BYTES = 1 << 20
"""No PDU of any type is longer: association requests of 128 contexts take some 30 kB."""
_HEADER_BYTES = 6
_PDU_HEADER = struct.Struct(">BxI")
_LOOKS_SHARE = 0.05
_CLOSING_SECONDS = 2.0
_BY_PROVIDER = 0x02

ASSOCIATE_RQ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = 0x01, 0x04, 0x05, 0x06, 0x07
"""PDU types that a provider meets (PS3.8 section 9.3)."""


class PeerSilent(PeerUnavailable):
    """The peer kept its connection and sent nothing, or only part of what it owes."""


class Pdu(NamedTuple):
    """A PDU as it lies in the connection's buffer, until the next one is read."""

    type: int
    body: memoryview


class Connection:
    """A socket that carries PDUs; one thread reads, any thread may send.

    ``idle_seconds`` bounds the silence before a PDU, and the time that one PDU may take.
    """

    def __init__(self, stream: socket.socket, idle_seconds: float) -> None:
        self._socket = stream
        self._buffer = bytearray(_HEADER_BYTES + MAXIMUM_PDU_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._limit_seconds = 0.0
        self._sending = threading.Lock()
        self.idle_seconds = idle_seconds
        stream.settimeout(None)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(idle_seconds))

    def read(self, within_seconds: float | None = None) -> Pdu:
        """Return the next PDU, all of it ``within_seconds`` where that is given.

        Raises:
            PeerSilent: nothing came for too long.
            PeerUnavailable: the connection ended.
            ProtocolViolated: what came is no PDU, or longer than any may be.
        """
        limit_seconds = within_seconds or self.idle_seconds
        self._limit(limit_seconds)
        deadline = time.monotonic() + limit_seconds
        self._await(_HEADER_BYTES, deadline)
        kind, length = _PDU_HEADER.unpack_from(self._buffer, self._start)
        if not 1 <= kind <= ABORT:
            raise ProtocolViolated(f"unknown PDU type {kind:02X}H")
        if length > _LONGEST_PDU_BYTES:
            raise ProtocolViolated(f"a PDU of {length} bytes was announced")
        if not within_seconds:
            deadline = time.monotonic() + self.idle_seconds
        self._await(_HEADER_BYTES + length, deadline)
        start = self._start + _HEADER_BYTES
        self._start = start + length
        return Pdu(kind, self._view[start : self._start])

    def has_input(self) -> bool:
        """Tell whether a PDU, or the end of the connection, can be read without waiting."""
        if self._start < self._end:
            return True
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(select.select([self._socket], [], [], 0)[0])

    def send(self, *parts: bytes) -> None:
        """Send bytes whole, not mixed with what other threads send.

        Raises:
            PeerUnavailable: the connection ended, or the peer took nothing for too long.
        """
        try:
            with self._sending:
                self._socket.sendall(b"".join(parts))
        except OSError as error:
            raise PeerUnavailable(f"the peer took no answer: {_reason(error)}") from error

    def abort(self, source: int, reason: int) -> None:
        """Send A-ABORT where the peer still listens (PS3.8 section 9.3.8)."""
        try:
            self._socket.settimeout(_CLOSING_SECONDS)
            self._socket.sendall(bytes((ABORT, 0, 0, 0, 0, 4, 0, 0, source, reason)))
        except OSError:
            return

    @property
    def most_in_flight(self) -> int:
        """How many threads may answer on it; a TLS connection is one thread's alone."""
        return 1 if isinstance(self._socket, ssl.SSLSocket) else MOST_IN_FLIGHT

    def interrupt(self) -> None:
        """Abort the connection from another thread: its reader wakes up."""
        if not isinstance(self._socket, ssl.SSLSocket):
            self.abort(_BY_PROVIDER, 0)
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close after the peer had a moment to read what was sent last.

        Closing with unread bytes would reset the connection, and the answer with it.
        """
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.settimeout(_CLOSING_SECONDS)
                self._socket = self._socket.unwrap()
            self._socket.shutdown(socket.SHUT_WR)
            self._drain(time.monotonic() + _CLOSING_SECONDS)
        except (OSError, ValueError):
            # ValueError: an interrupted TLS connection is none any more.
            pass
        finally:
            self._socket.close()

    def _drain(self, deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            if not self._socket.recv_into(self._buffer):
                return

    def _limit(self, seconds: float) -> None:
        """Have a wait for bytes end now and then, for a look at the deadline.

        The system's own timeout costs nothing while bytes come; the socket's, which TLS needs,
        costs two calls more for every read.
        """
        if seconds == self._limit_seconds:
            return
        self._limit_seconds = seconds
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(seconds)
        else:
            look = _timeval(seconds * _LOOKS_SHARE)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, look)

    def _await(self, length: int, deadline: float) -> None:
        """Receive until so many bytes of the next PDU lie in the buffer; more may come along."""
        if self._end - self._start >= length:
            return
        if self._start + length > len(self._buffer) or self._start == self._end:
            self._make_room(length)
        while self._end - self._start < length:
            self._end += self._receive(self._view[self._end :], deadline)

    def _make_room(self, length: int) -> None:
        """Move what is not read yet to the front of a buffer that holds so many bytes."""
        rest = self._buffer[self._start : self._end]
        if length > len(self._buffer):
            self._buffer = bytearray(length)
            self._view = memoryview(self._buffer)
        self._buffer[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def _receive(self, view: memoryview, deadline: float) -> int:
        while True:
            try:
                count = self._socket.recv_into(view)
            except (BlockingIOError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise PeerSilent("the peer was silent for too long") from error
                continue
            except OSError as error:
                raise PeerUnavailable(f"the connection ended: {_reason(error)}") from error
            if not count:
                raise PeerUnavailable("the peer closed the connection")
            if time.monotonic() > deadline:
                raise PeerSilent("the peer was silent for too long, byte after byte")
            return count


def _timeval(seconds: float) -> bytes:
    """Return a time as the socket options want it."""
    whole = int(seconds)
    return struct.pack("@ll", whole, max(round((seconds - whole) * 1e6), 0 if whole else 1))


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
