"""DICOMweb of a node in this process, on a port of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gateway.settings import DimseSettings, NodeSettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.database import Database
from gateway.web.application import application


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """A store, and the port on which it takes instances and is searched."""

    store: NodeStore
    port: int
    folder: Path

    def left_in_spool(self) -> list[Path]:
        """Return the files under spool/ that hold something."""
        files = (self.folder / "spool").rglob("*")
        return [path for path in files if path.is_file() and path.stat().st_size]


@contextmanager
def open_door(folder: Path, *, reserve_gb: float = 0, idle_seconds: float = 60) -> Iterator[Door]:
    """Serve until the block ends."""
    settings = Settings(
        node=NodeSettings(data_dir=folder, reserve_gb=reserve_gb),
        dimse=DimseSettings(idle_seconds=idle_seconds),
    )
    with open_node(settings) as door:
        yield door


@contextmanager
def open_node(settings: Settings) -> Iterator[Door]:
    """Serve a node with these settings until the block ends."""
    settings.node.data_dir.mkdir(exist_ok=True)
    database = Database(settings.index_url)
    database.upgrade()
    database.close()
    store = open_store(settings)
    with _serving(web.AppRunner(application(store, settings), shutdown_timeout=2)) as port:
        yield Door(store=store, port=port, folder=settings.node.data_dir)
    store.close()


@contextmanager
def _serving(runner: web.AppRunner) -> Iterator[int]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
