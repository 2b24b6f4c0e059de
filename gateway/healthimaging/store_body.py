"""The body of a STOW-RS request, read from files as it goes out (PS3.18 section 10.5)."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence

from gateway.healthimaging.outgoing import Outgoing

_READ_BYTES = 1 << 20


class StoreBody:
    """Instances as ``multipart/related``: its bytes, their number and their SHA-256.

    No more than two megabytes of it are in memory. The files are read once for the digest, which
    the signature needs, and once for each time that the body is sent.
    """

    def __init__(self, instances: Sequence[Outgoing]) -> None:
        self._instances = instances
        self._boundary = uuid.uuid4().hex

    @property
    def content_type(self) -> str:
        """What the header of this name says."""
        return f'multipart/related; type="application/dicom"; boundary="{self._boundary}"'

    @property
    def size_bytes(self) -> int:
        """Length of the body."""
        framing = len(self._opening) * len(self._instances) + len(self._closing)
        return framing + sum(one.size_bytes for one in self._instances)

    def chunks(self) -> Iterator[bytes]:
        """Give the body piece by piece."""
        for instance in self._instances:
            yield self._opening
            with instance.open() as file:
                while chunk := file.read(_READ_BYTES):
                    yield chunk
        yield self._closing

    def sha256(self) -> str:
        """Return the digest of the body in hexadecimal."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    async def stream(self) -> AsyncIterator[bytes]:
        """Give the body in blocks, without holding up others while the disk is read."""
        chunks = self.chunks()
        while block := await asyncio.to_thread(_block, chunks):
            yield block

    @property
    def _opening(self) -> bytes:
        return f"\r\n--{self._boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()

    @property
    def _closing(self) -> bytes:
        return f"\r\n--{self._boundary}--\r\n".encode()


def _block(chunks: Iterator[bytes]) -> bytes:
    """Return the next pieces together: what changes threads is worth its way."""
    parts, size_bytes = [], 0
    for chunk in chunks:
        parts.append(chunk)
        size_bytes += len(chunk)
        if size_bytes >= _READ_BYTES:
            break
    return b"".join(parts)
