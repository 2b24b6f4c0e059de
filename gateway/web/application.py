"""The HTTP application: health, readiness and metrics."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.store import NodeStore
from gateway.web.metrics import NodeCollector
from gateway.web.readiness import Readiness, readiness

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(store: NodeStore) -> web.Application:
    """Return the application of one node."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(store))
    app = web.Application()
    app.router.add_get("/healthz", _health)
    app.router.add_get("/readyz", _ready(store))
    app.router.add_get("/metrics", _metrics(registry))
    return app


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
        page = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return metrics
