"""The web process."""

import asyncio
import logging
import threading

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store import NodeStore, open_store
from gateway.store.heartbeat import Identity, Lifetime
from gateway.web.application import application

_log = structlog.get_logger()
_IDLE_SECONDS = 1.0
_START_SECONDS = 20.0
_DRAIN_SECONDS = 15.0
_CLOSE_SECONDS = 5.0
_FILES_AHEAD = 32
_READ_BYTES = 1 << 20
"""What is read of a request before somebody asks for more; twice as much is held at most."""


def run_web(settings: Settings, identity: Identity) -> None:
    """Serve HTTP until SIGTERM; open requests then have 15 s to finish."""
    store = open_store(settings, identity.name, ahead=_FILES_AHEAD)
    store.reconcile(identity.name)
    store.associations.lost(identity.name)
    if not settings.web.serves_dicomweb:
        _log.warning("dicomweb_closed", action="see web.allow_unauthenticated in the README")
    server = _Server(settings, store, identity.name)
    port = server.start()
    Lifetime(store.processes, identity, {"port": port}).run(_IDLE_SECONDS, lambda: _tend(store))
    server.stop()
    store.close()


def _tend(store: NodeStore) -> None:
    """Clear the spool of what has its durable name."""
    try:
        store.objects.settle()
    except GatewayError as error:
        _log.warning("spool_not_settled", reason=str(error))


class _BadRequests(logging.Filter):
    """Tells of a request that is no HTTP in one line, without its bytes: they may name patients."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the error, and with it the bytes, out of the record."""
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def _http_log() -> logging.Logger:
    log = logging.getLogger("gateway.http")
    log.addFilter(_BadRequests())
    return log


class _Server:
    """An aiohttp site in an event loop of its own thread."""

    def __init__(self, settings: Settings, store: NodeStore, process: str) -> None:
        self._web = settings.web
        self._runner = web.AppRunner(
            application(store, settings, process),
            access_log=None,
            logger=_http_log(),
            shutdown_timeout=_DRAIN_SECONDS,
            read_bufsize=_READ_BYTES,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)

    def start(self) -> int:
        """Listen, and return the port."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_START_SECONDS)
        return int(self._runner.addresses[0][1])

    def stop(self) -> None:
        """Finish open requests and close."""
        closed = asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop)
        closed.result(_DRAIN_SECONDS + _CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        self._loop.close()

    async def _listen(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._web.bind, self._web.port).start()
