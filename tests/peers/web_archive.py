"""A DICOMweb server that answers as a test tells it to."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from gateway.settings import DicomwebNode


@dataclass
class WebArchive:
    """Answers every GET with a status and a body, while the ``with`` block lasts."""

    status: int = 200
    body: bytes = b"[]"
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path, and the Authorization header, of every request."""

    def __enter__(self) -> Self:
        archive = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                archive.asked.append((self.path, self.headers.get("Authorization", "")))
                self.send_response(archive.status)
                if archive.status != 204:
                    self.send_header("Content-Length", str(len(archive.body)))
                self.end_headers()
                if archive.status != 204:
                    self.wfile.write(archive.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def node(self, *counts_for: str, **settings: Any) -> DicomwebNode:
        """The server as the settings name it."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/dicom-web/"
        return DicomwebNode(kind="dicomweb", url=url, counts_for=counts_for, **settings)
