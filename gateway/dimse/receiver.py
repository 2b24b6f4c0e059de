"""The receiver process: it listens on the DICOM port and keeps what comes."""

import socket

import structlog

from gateway.dimse.commitment import CommitmentService
from gateway.dimse.library import configure_pynetdicom
from gateway.dimse.provider import StorageProvider
from gateway.dimse.query import QueryService
from gateway.dimse.retrieval import GetService, MoveService
from gateway.dimse.service import Service
from gateway.dimse.verification import Verification
from gateway.settings import Settings
from gateway.store import NodeStore, open_store
from gateway.store.database import Database
from gateway.store.heartbeat import Identity, Lifetime

_log = structlog.get_logger()
_DRAIN_SECONDS = 20.0
_IDLE_SECONDS = 1.0
_FILES_AHEAD = 32


def run_receiver(settings: Settings, identity: Identity, listener: int | None = None) -> None:
    """Receive until SIGTERM; open associations then have 20 s to finish.

    ``listener`` is the descriptor of a listening socket that processes share.
    """
    configure_pynetdicom()
    _require_index(settings)
    store = open_store(settings, identity.name, ahead=_FILES_AHEAD)
    store.reconcile(identity.name)
    lost = store.associations.lost(identity.name)
    if lost:
        _log.warning("associations_lost", number=lost, meaning="the receiver was killed")
    if not settings.dimse.allow:
        _log.warning("dimse_open_to_anyone", action="list the peers in dimse.allow")
    shared = None if listener is None else socket.socket(fileno=listener)
    provider = StorageProvider(settings, store, identity.name, services(settings, store), shared)
    provider.start()
    Lifetime(store.processes, identity, {"port": settings.dimse.port}).run(
        _IDLE_SECONDS, provider.tend
    )
    provider.stop(_DRAIN_SECONDS)
    store.close()


def _require_index(settings: Settings) -> None:
    """Bring the index to this version, unless another process does."""
    settings.node.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.index_url)
    database.upgrade()
    database.close()


def services(settings: Settings, store: NodeStore) -> tuple[Service, ...]:
    """Return what the DICOM port serves beside storage."""
    return (
        Verification(),
        QueryService(store, settings),
        MoveService(store, settings),
        GetService(store),
        CommitmentService(store, settings),
    )
