"""The HTTP application: health, readiness, metrics, and storing and searching by DICOMweb."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.dicomweb.search_service import SearchService
from gateway.dicomweb.store_service import StoreService
from gateway.errors import StoreUnavailable
from gateway.settings import Settings
from gateway.store import NodeStore
from gateway.web.metrics import NodeCollector
from gateway.web.readiness import Readiness, readiness

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_DICOMWEB = "/dicom-web"
_CLOSED = (
    "nothing is stored or searched over HTTP here: web.bind is reached from other machines, and "
    "this version does not authenticate anybody; bind 127.0.0.1 and put a reverse proxy that "
    "authenticates before it, or set web.allow_unauthenticated\n"
)


def application(store: NodeStore, settings: Settings, process: str = "web") -> web.Application:
    """Return the application of one node, to be run in one event loop of a process."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(store))
    app = web.Application()
    app.router.add_get("/healthz", _health)
    app.router.add_get("/readyz", _ready(store))
    app.router.add_get("/metrics", _metrics(registry))
    if settings.web.serves_dicomweb:
        service = StoreService(store, process, idle_seconds=settings.dimse.idle_seconds)
        service.add_routes(app, _DICOMWEB)
        SearchService(store).add_routes(app, _DICOMWEB)
    else:
        app.router.add_route("*", f"{_DICOMWEB}/{{rest:.*}}", _closed)
    return app


async def _closed(_: web.Request) -> web.Response:
    """Say why DICOMweb is not served, and what to do about it."""
    return web.Response(status=403, text=_CLOSED)


async def _health(_: web.Request) -> web.Response:
    """Say that this process answers."""
    return web.Response(text="ok\n")


def _ready(store: NodeStore) -> Handler:
    async def ready(_: web.Request) -> web.Response:
        state: Readiness = await asyncio.to_thread(readiness, store)
        return web.Response(
            status=200 if state.is_ready else 503,
            text=json.dumps(state.as_json()) + "\n",
            content_type="application/json",
        )

    return ready


def _metrics(registry: CollectorRegistry) -> Handler:
    async def metrics(_: web.Request) -> web.Response:
        try:
            page = await asyncio.to_thread(generate_latest, registry)
        except StoreUnavailable as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return metrics
