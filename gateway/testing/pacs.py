"""A small PACS: it takes what it is sent, and keeps it in a folder."""

import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from gateway.dicom.part10 import file_header
from gateway.dimse.library import VERIFICATION, configure_pynetdicom


class SmallPacs:
    """A storage provider on a port of the system's choice, for the demo and for tests.

    Instances are written as received, named by the order of their arrival.
    """

    def __init__(self, folder: Path, ae_title: str = "PACS") -> None:
        self._folder = folder
        self._arrived = threading.Condition()
        self._files: list[tuple[UID, Path]] = []
        configure_pynetdicom()
        entity = AE(ae_title=ae_title)
        entity.add_supported_context(VERIFICATION)
        self._server = entity.make_server(
            ("127.0.0.1", 0),
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once), (evt.EVT_C_STORE, self._on_store)],
        )
        entity._servers.append(self._server)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()

    def wait_for(self, sop_class_uid: str, timeout_seconds: float) -> Path | None:
        """Return the first instance of a class, waiting for it; nothing when it is late."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._first(sop_class_uid) is not None, timeout_seconds)
            return self._first(sop_class_uid)

    def _first(self, sop_class_uid: str) -> Path | None:
        return next((path for uid, path in self._files if uid == sop_class_uid), None)

    def _on_store(self, event: Event) -> int:
        request = cast(C_STORE, event.request)
        sop_class_uid = cast(UID, request.AffectedSOPClassUID)
        with self._arrived:
            path = self._folder / f"{len(self._files):06d}.dcm"
            path.write_bytes(
                file_header(
                    sop_class_uid,
                    str(request.AffectedSOPInstanceUID),
                    str(event.context.transfer_syntax),
                )
                + event.encoded_dataset(include_meta=False)
            )
            self._files.append((sop_class_uid, path))
            self._arrived.notify_all()
        return 0x0000


def _send_at_once(event: Event) -> None:
    """Let no answer wait for the next one (Nagle's algorithm)."""
    connection = getattr(event.assoc.dul.socket, "socket", None)
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
