"""The receiver process: it listens on the DICOM port and keeps what comes."""

import structlog

from gateway.dimse.library import configure_pynetdicom
from gateway.dimse.provider import StorageProvider
from gateway.settings import Settings
from gateway.store import open_store
from gateway.store.heartbeat import Identity, Lifetime

_log = structlog.get_logger()
_DRAIN_SECONDS = 20.0
_IDLE_SECONDS = 1.0


def run_receiver(settings: Settings, identity: Identity) -> None:
    """Receive until SIGTERM; open associations then have 20 s to finish."""
    configure_pynetdicom()
    store = open_store(settings)
    lost = store.associations.lost(identity.name)
    if lost:
        _log.warning("associations_lost", number=lost, meaning="the receiver was killed")
    if not settings.dimse.allow:
        _log.warning("dimse_open_to_anyone", action="list the peers in dimse.allow")
    provider = StorageProvider(settings, store, identity.name)
    provider.start()
    Lifetime(store.processes, identity, {"port": settings.dimse.port}).run(_IDLE_SECONDS)
    provider.stop(_DRAIN_SECONDS)
    store.close()
