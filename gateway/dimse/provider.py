"""The storage and verification provider: what answers on the DICOM port."""

import queue
import threading
import time
import uuid
from io import BytesIO
from typing import cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import ThreadedAssociationServer

from gateway.dicom.header import printable
from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from gateway.dimse.library import VERIFICATION
from gateway.dimse.transport import MAXIMUM_PDU_BYTES, SharedPortServer
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store import NodeStore, Offer, Origin

_log = structlog.get_logger()

_SUCCESS = 0x0000
_REJECTED_PERMANENT = 0x01
_SERVICE_USER = 0x01
_CALLING_AE_NOT_RECOGNISED = 0x03
_REJECTION_LOG_SECONDS = 60.0
_LONGEST_ERROR_COMMENT = 64
_NEGOTIATION_SECONDS = 15.0
"""Time for a connection to become an association, and for a broken one to close (ARTIM)."""


class StorageProvider:
    """Answers C-ECHO and C-STORE for one receiver process.

    Every storage class, private and unknown ones too, is accepted in the first transfer syntax
    that its sender proposes: bytes are kept as they come, whatever they are.
    """

    def __init__(self, settings: Settings, store: NodeStore, receiver: str) -> None:
        self._settings = settings
        self._store = store
        self._receiver = receiver
        self._origins: dict[Association, Origin] = {}
        self._last_rejection_log: dict[str, float] = {}
        self._entity = _entity(settings)
        self._server: ThreadedAssociationServer | None = None

    def start(self) -> None:
        """Listen, in threads of this process."""
        dimse = self._settings.dimse
        server = self._entity.make_server(
            (dimse.bind, dimse.port), evt_handlers=self._handlers(), server_class=SharedPortServer
        )
        self._entity._servers.append(server)
        self._server = server
        threading.Thread(target=server.serve_forever, name="dicom-port", daemon=True).start()

    def stop(self, drain_seconds: float) -> None:
        """Stop listening, let open associations finish, then abort those that remain."""
        if self._server is not None:
            self._server.shutdown()
        deadline = time.monotonic() + drain_seconds
        while self._origins and time.monotonic() < deadline:
            time.sleep(0.05)
        for association in list(self._origins):
            association.abort()

    def _handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_RELEASED, lambda event: self._on_ended(event, "released")),
            (evt.EVT_ABORTED, lambda event: self._on_ended(event, "aborted")),
            (evt.EVT_CONN_CLOSE, self._on_closed),
        ]

    def _on_requested(self, event: Event) -> None:
        calling_ae = printable(_request(event).calling_ae_title)
        host = event.assoc.requestor.address
        if not self._is_allowed(calling_ae, host):
            event.assoc.acse.send_reject(
                _REJECTED_PERMANENT, _SERVICE_USER, _CALLING_AE_NOT_RECOGNISED
            )
            event.assoc.kill()
            self._store.counters.add("rejected_associations")
            self._log_rejection(calling_ae, host)

    def _is_allowed(self, calling_ae: str, host: str) -> bool:
        allow = self._settings.dimse.allow
        return not allow or any(
            peer.ae_title == calling_ae and peer.host in (None, host) for peer in allow
        )

    def _log_rejection(self, calling_ae: str, host: str) -> None:
        """Log at most once a minute and peer: a misconfigured modality tries for ever."""
        now = time.monotonic()
        key = f"{calling_ae}@{host}"
        if (
            now - self._last_rejection_log.get(key, -_REJECTION_LOG_SECONDS)
            < _REJECTION_LOG_SECONDS
        ):
            return
        if len(self._last_rejection_log) > 1000:
            self._last_rejection_log.clear()
        self._last_rejection_log[key] = now
        _log.warning(
            "association_rejected",
            calling_ae=calling_ae,
            host=host,
            action="add the peer to dimse.allow if it should be let in",
        )

    def _on_established(self, event: Event) -> None:
        self._origin(event)

    def _origin(self, event: Event) -> Origin:
        """Return where an association's instances come from, entering it where it is new."""
        if event.assoc in self._origins:
            return self._origins[event.assoc]
        request = _request(event)
        origin = Origin(
            calling_ae=printable(request.calling_ae_title),
            called_ae=printable(request.called_ae_title),
            source="c-store",
            association_id=str(uuid.uuid4()),
        )
        host = event.assoc.requestor.address
        self._store.associations.opened(str(origin.association_id), self._receiver, origin, host)
        self._origins[event.assoc] = origin
        return origin

    def _on_closed(self, event: Event) -> None:
        if event.assoc in self._origins:
            self._on_ended(event, "lost")
        else:
            # A health probe: its thread would go on waiting for an association request.
            cast("queue.Queue[None]", event.assoc.dul.to_user_queue).put(None)

    def _on_ended(self, event: Event, ended: str) -> None:
        origin = self._origins.get(event.assoc)
        if origin is not None:
            self._store.associations.closed(str(origin.association_id), ended)
            # Only now: if the index was busy, the next event of this end tries again.
            self._origins.pop(event.assoc, None)

    def _on_store(self, event: Event) -> Dataset | int:
        """Keep the instance, then answer (PS3.4 section B.2.3)."""
        request = cast(C_STORE, event.request)
        offer = Offer(
            data_set=cast(BytesIO, request.DataSet).getvalue(),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
        )
        try:
            self._store.intake.keep(offer, self._origin(event))
        except GatewayError as error:
            _log.warning(
                "instance_refused",
                sop_instance_uid=offer.sop_instance_uid,
                status=f"{error.dimse_status:04X}H",
                reason=str(error),
            )
            return _failure(error)
        return _SUCCESS


def _entity(settings: Settings) -> AE:
    entity = AE(ae_title=settings.node.ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
    entity.maximum_associations = settings.dimse.maximum_associations
    entity.network_timeout = settings.dimse.idle_seconds
    entity.acse_timeout = _NEGOTIATION_SECONDS
    entity.add_supported_context(VERIFICATION)
    return entity


def _request(event: Event) -> A_ASSOCIATE:
    return cast(A_ASSOCIATE, event.assoc.requestor.primitive)


def _failure(error: GatewayError) -> Dataset:
    status = Dataset()
    status.Status = error.dimse_status
    status.ErrorComment = str(error)[:_LONGEST_ERROR_COMMENT]
    return status
