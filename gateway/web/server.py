"""The web process."""

import asyncio
import threading

from aiohttp import web

from gateway.settings import Settings
from gateway.store import NodeStore, open_store
from gateway.store.heartbeat import Identity, Lifetime
from gateway.web.application import application

_IDLE_SECONDS = 1.0
_START_SECONDS = 20.0
_DRAIN_SECONDS = 10.0


def run_web(settings: Settings, identity: Identity) -> None:
    """Serve HTTP until SIGTERM."""
    store = open_store(settings)
    server = _Server(settings, store)
    port = server.start()
    Lifetime(store.processes, identity, {"port": port}).run(_IDLE_SECONDS)
    server.stop()
    store.close()


class _Server:
    """An aiohttp site in an event loop of its own thread."""

    def __init__(self, settings: Settings, store: NodeStore) -> None:
        self._web = settings.web
        self._runner = web.AppRunner(application(store), access_log=None)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)

    def start(self) -> int:
        """Listen, and return the port."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_START_SECONDS)
        return int(self._runner.addresses[0][1])

    def stop(self) -> None:
        """Finish open requests and close."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(_DRAIN_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_DRAIN_SECONDS)
        self._loop.close()

    async def _listen(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._web.bind, self._web.port).start()
