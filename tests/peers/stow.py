"""A client of the store transaction that sends exactly the bytes it is told to."""

import http.client
import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.dicom.part10 import file_header
from tests.peers.raw import Part10

BOUNDARY = "gateway-test-boundary"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
JSON = "application/dicom+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreAnswer:
    """A response to a store request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def module(self) -> dict[str, Any]:
        """The Store Instances Response Module in JSON."""
        assert self.headers["Content-Type"] == JSON, self.body
        return dict(json.loads(self.body))

    @property
    def referenced(self) -> list[str]:
        """SOP Instance UIDs of what is stored."""
        return [value(item, "00081155") for item in items(self.module, "00081199")]

    @property
    def failed(self) -> list[tuple[str, int]]:
        """SOP Instance UIDs of what is not stored, with the Failure Reason."""
        found = items(self.module, "00081198")
        return [(value(item, "00081155"), value(item, "00081197")) for item in found]

    @property
    def others(self) -> list[int]:
        """Failure Reasons of what has no name."""
        return [value(item, "00081197") for item in items(self.module, "0008119A")]


def items(module: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return list(module.get(tag, {"Value": []})["Value"])


def value(item: dict[str, Any], tag: str) -> Any:
    (found,) = item[tag]["Value"]
    return found


def file_of(item: Part10) -> bytes:
    """Return an instance as a DICOM file."""
    names = (item.sop_class_uid, item.sop_instance_uid, item.transfer_syntax_uid)
    return file_header(*names) + item.data_set


def multipart(files: Iterable[bytes], boundary: str = BOUNDARY) -> bytes:
    """Return a body with these parts."""
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + content + b"\r\n" for content in files) + f"--{boundary}--\r\n".encode()


def request(
    port: int,
    body: bytes | Iterator[bytes],
    *,
    study: str | None = None,
    content_type: str | None = MULTIPART,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> StoreAnswer:
    """Send a body as it is, in chunks where it is an iterator."""
    path = "/dicom-web/studies" + (f"/{study}" if study else "")
    named = {"Content-Type": content_type} if content_type else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        sent = {"Accept": JSON, **named, **(headers or {})}
        connection.request(method, path, body, sent, encode_chunked=not isinstance(body, bytes))
        answer = connection.getresponse()
        return StoreAnswer(
            status=answer.status, body=answer.read(), headers=dict(answer.getheaders())
        )
    finally:
        connection.close()


def store(port: int, instances: Sequence[Part10], *, study: str | None = None) -> StoreAnswer:
    """Store instances by one request."""
    return request(port, multipart(map(file_of, instances)), study=study)


def begin(port: int, content: bytes, length: int | None) -> socket.socket:
    """Send the beginning of a body that is announced to be longer; return the connection."""
    announced = "" if length is None else f"Content-Length: {length}\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = (
        f"POST /dicom-web/studies HTTP/1.1\r\nHost: node\r\nContent-Type: {MULTIPART}\r\n"
        f"Accept: {JSON}\r\n{announced}\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection
