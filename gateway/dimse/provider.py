"""What answers on the DICOM port: every connection of one receiver process."""

import socket
import ssl
import time
import uuid
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from gateway.dimse.admission import Admission
from gateway.dimse.association import Association
from gateway.dimse.connection import ABORT, ASSOCIATE_RQ, Connection, PeerSilent
from gateway.dimse.listener import Listener
from gateway.dimse.message import Command
from gateway.dimse.negotiation import Acceptance, accept, read_request
from gateway.dimse.service import PresentationContext, Service
from gateway.dimse.storage import IncomingInstance
from gateway.dimse.tls import server_context
from gateway.errors import (
    GatewayError,
    PeerUnavailable,
    ProtocolViolated,
    StoreUnavailable,
    TooManyAssociations,
)
from gateway.settings import DimseSettings, Settings
from gateway.store import NodeStore, Origin

_log = structlog.get_logger()
_NEGOTIATION_SECONDS = 15.0
"""Time for a connection to become an association (ARTIM, PS3.8 section 9.1.4)."""
_MOST_NEGOTIATING = 64
_STORES_AT_ONCE = 16
_ENDING_SECONDS = 5.0
_BY_PROVIDER, _INVALID_PARAMETER, _NO_REASON = 0x02, 0x06, 0x00


class StorageProvider:
    """Answers associations for one receiver process, each in a thread of its own.

    Storage is its own work; the other services are those it is given. It listens on a socket that
    is ``shared`` with other processes, where there is one.
    """

    def __init__(
        self,
        settings: Settings,
        store: NodeStore,
        receiver: str,
        services: Sequence[Service] = (),
        shared: socket.socket | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._receiver = receiver
        self._services = {uid: service for service in services for uid in service.sop_classes}
        self._admission = Admission(settings.dimse, store.counters)
        self._executor = ThreadPoolExecutor(_STORES_AT_ONCE, thread_name_prefix="store")
        self._connections: set[Connection] = set()
        self._serving: set[Connection] = set()
        self._ends: deque[tuple[str, str]] = deque()
        self._listeners = self._listening(settings.dimse, shared)

    def start(self) -> None:
        """Listen, in threads of this process."""
        for listener in self._listeners:
            listener.start()

    def stop(self, drain_seconds: float) -> None:
        """Stop listening, let open associations finish, then abort those that remain."""
        for listener in self._listeners:
            listener.stop()
        deadline = time.monotonic() + drain_seconds
        while self._serving and time.monotonic() < deadline:
            time.sleep(0.05)
        deadline = time.monotonic() + _ENDING_SECONDS
        while self._connections and time.monotonic() < deadline:
            for connection in list(self._connections):
                connection.interrupt()
            time.sleep(0.05)
        self._executor.shutdown()

    def _listening(self, dimse: DimseSettings, shared: socket.socket | None) -> list[Listener]:
        most = dimse.maximum_associations + _MOST_NEGOTIATING
        plain = Listener(dimse.bind, dimse.port, self._serve, most, shared)
        if dimse.tls is None:
            return [plain]
        context = server_context(dimse.tls)

        def serve(stream: socket.socket, host: str) -> None:
            self._serve_secure(context, stream, host)

        secure = Listener(dimse.bind, dimse.tls.port, serve, most)
        return [secure] if dimse.tls.only else [plain, secure]

    def _serve_secure(self, context: ssl.SSLContext, stream: socket.socket, host: str) -> None:
        stream.settimeout(_NEGOTIATION_SECONDS)
        try:
            secured = context.wrap_socket(stream, server_side=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._admission.violated(host, f"no TLS connection came about: {reason}")
            return
        with secured:
            self._serve(secured, host)

    def _serve(self, stream: socket.socket, host: str) -> None:
        """Serve one connection; whatever it brings stays its own."""
        connection = Connection(stream, self._settings.dimse.idle_seconds)
        self._connections.add(connection)
        try:
            self._negotiate(connection, host)
        except ProtocolViolated as error:
            connection.abort(_BY_PROVIDER, _INVALID_PARAMETER)
            self._admission.violated(host, str(error))
        except PeerSilent as error:
            connection.abort(_BY_PROVIDER, _NO_REASON)
            _log.info("connection_given_up", host=host, reason=str(error))
        except PeerUnavailable as error:
            _log.debug("connection_ended", host=host, reason=str(error))
        except GatewayError as error:
            connection.abort(_BY_PROVIDER, _NO_REASON)
            _log.warning("association_failed", host=host, reason=str(error))
        except Exception:  # noqa: BLE001 - the connection's outermost layer
            connection.abort(_BY_PROVIDER, _NO_REASON)
            _log.exception("association_broke", host=host)
        finally:
            self._connections.discard(connection)
            connection.close()

    def _negotiate(self, connection: Connection, host: str) -> None:
        pdu = connection.read(_NEGOTIATION_SECONDS)
        if pdu.type == ABORT:
            return
        if pdu.type != ASSOCIATE_RQ:
            raise ProtocolViolated(f"a PDU of type {pdu.type:02X}H before any association")
        request = read_request(pdu.body, host)
        refusal = self._admission.refusal(request.peer)
        if refusal is not None:
            connection.send(refusal)
            return
        self._admit(connection, accept(request, list(self._services), connection.most_in_flight))

    def _admit(self, connection: Connection, acceptance: Acceptance) -> None:
        peer = acceptance.peer
        origin = Origin(
            calling_ae=peer.calling_ae,
            called_ae=peer.called_ae,
            source="c-store",
            association_id=str(uuid.uuid4()),
        )
        try:
            is_entered = self._enter(origin, peer.host)
        except TooManyAssociations as error:
            connection.send(self._admission.too_many(peer, str(error)))
            return
        self._run(connection, acceptance, origin, is_entered=is_entered)

    def _run(
        self, connection: Connection, acceptance: Acceptance, origin: Origin, *, is_entered: bool
    ) -> None:
        def begin(context: PresentationContext, command: Command) -> IncomingInstance:
            nonlocal is_entered
            # An index that was busy then may be free now; an instance needs its association.
            is_entered = is_entered or self._enter(origin, acceptance.peer.host)
            return IncomingInstance(self._store, context, command, origin, can_keep=is_entered)

        association = Association(connection, acceptance, self._services, begin, self._executor)
        ended = "aborted"
        self._serving.add(connection)
        try:
            connection.send(acceptance.answer)
            association.run()
            ended = "released"
        finally:
            self._serving.discard(connection)
            self._leave(origin, ended)

    def _enter(self, origin: Origin, host: str) -> bool:
        """Enter an association into the index; without it, C-ECHO is still answered."""
        dimse = self._settings.dimse
        try:
            self._store.associations.opened(
                str(origin.association_id),
                self._receiver,
                origin,
                host,
                most=dimse.maximum_associations,
                most_of_peer=dimse.maximum_associations_per_peer,
            )
        except StoreUnavailable as error:
            _log.warning("association_not_indexed", reason=str(error))
            return False
        return True

    def _leave(self, origin: Origin, ended: str) -> None:
        """Note the end of an association: its series may be complete now."""
        self._ends.append((str(origin.association_id), ended))
        self._note_ends()

    def tend(self) -> None:
        """Do what waits: clear the spool, and note the ends of associations."""
        try:
            self._store.objects.settle()
        except GatewayError as error:
            _log.warning("spool_not_settled", reason=str(error))
        self._note_ends()

    def _note_ends(self) -> None:
        """Note the ends of associations; what the index does not take waits for the next time."""
        while self._ends:
            association_id, ended = self._ends[0]
            try:
                self._store.associations.closed(association_id, ended)
            except StoreUnavailable as error:
                _log.warning("association_end_not_indexed", reason=str(error))
                return
            with suppress(ValueError):
                self._ends.remove((association_id, ended))
