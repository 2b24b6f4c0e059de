"""A stand-in for the MONAI hub, reached as from a hospital: through a proxy that opens TLS."""

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.peers.certificates import Authority


class Hub:
    """A proxy on loopback behind which every host answers with the contents of ``answers``.

    ``answers`` are contents by ``host/path``; all else is 404. ``asked`` are the addresses that
    were asked for. Certificates are of an authority of its own, whose file clients must trust.
    """

    def __init__(self, folder: Path, answers: Mapping[str, bytes]) -> None:
        self._answers = answers
        self._authority = Authority(folder)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._guard = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._port = self._listening.getsockname()[1]
        self.asked: list[str] = []

    def __enter__(self) -> "Hub":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a hospital sets for programs that must go through its proxy."""
        proxy = f"http://127.0.0.1:{self._port}"
        trusted = str(self._authority.certificate)
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "",
            "no_proxy": "",
            "REQUESTS_CA_BUNDLE": trusted,
            "SSL_CERT_FILE": trusted,
        }

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._tunnel, args=(connection,), daemon=True).start()

    def _tunnel(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            method, target = _head(connection).split()[:2]
            assert method == "CONNECT"
            host = target.partition(":")[0]
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with self._context(host).wrap_socket(connection, server_side=True) as secure:
                path = _head(secure).split()[1]
                self.asked.append(f"{host}{path}")
                secure.sendall(_response(self._answers.get(f"{host}{path}")))

    def _context(self, host: str) -> ssl.SSLContext:
        with self._guard:
            if host not in self._contexts:
                own = self._authority.issue(host, stands_for=f"DNS:{host}")
                self._contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._contexts[host].load_cert_chain(own.certificate, own.key)
            return self._contexts[host]


def _head(connection: socket.socket) -> str:
    """Read a request up to its empty line; none has a body."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(4096)
        if not chunk:
            raise ConnectionError("the client went away")
        received += chunk
    return received.decode("latin-1")


def _response(body: bytes | None) -> bytes:
    status = "200 OK" if body is not None else "404 Not Found"
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body or b'')}\r\nConnection: close\r\n\r\n"
    return head.encode() + (body or b"")
