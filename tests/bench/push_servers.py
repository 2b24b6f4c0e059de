"""``python -m tests.bench.push_servers cloud|sink|s3 FOLDER SERIES``: what a series is sent to.

Each is a process of its own: what it costs is not the senders'. It prints where it is as one line
of JSON, and runs until it is ended. ``cloud`` is the stand-in for HealthImaging, which checks no
signatures, so that bare requests are taken too; ``sink`` reads a body to its
end, keeps nothing, and calls each instance of the series stored; ``s3`` is moto.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
from aiohttp import web
from moto.server import ThreadedMotoServer

from gateway.healthimaging.outgoing import dicom_file
from gateway.testing.healthimaging import Behaviour, CloudStandIn

BUCKET = "staged"
_REFERENCED_SOP_SEQUENCE = "00081199"
_REFERENCED_SOP_INSTANCE_UID = "00081155"
_LARGEST_BODY_BYTES = 1 << 31


@asynccontextmanager
async def cloud(folder: Path, _: Path) -> AsyncIterator[dict[str, Any]]:
    """Run a data store."""
    async with CloudStandIn(folder, behaviour=Behaviour(checks_signatures=False)) as running:
        yield {"endpoint_url": running.endpoint_url, "datastore_id": running.data_store_id}


@asynccontextmanager
async def sink(_: Path, series: Path) -> AsyncIterator[dict[str, Any]]:
    """Take every body, and call each instance of a series stored."""
    names = [dicom_file(path).sop_instance_uid for path in series.iterdir()]
    items = [{_REFERENCED_SOP_INSTANCE_UID: {"vr": "UI", "Value": [uid]}} for uid in names]
    answer = {_REFERENCED_SOP_SEQUENCE: {"vr": "SQ", "Value": items}}

    async def store(request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        return web.json_response(answer)

    application = web.Application(client_max_size=_LARGEST_BODY_BYTES)
    application.router.add_post("/datastore/{id}/studies", store)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        host, port = runner.addresses[0]
        yield {"endpoint_url": f"http://{host}:{port}", "datastore_id": "0" * 32}
    finally:
        await runner.cleanup()


@asynccontextmanager
async def s3(_: Path, __: Path) -> AsyncIterator[dict[str, Any]]:
    """Run an S3 with one bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
        yield {"s3_endpoint_url": address}
    finally:
        server.stop()


SERVERS = {"cloud": cloud, "sink": sink, "s3": s3}


async def serve(name: str, folder: Path, series: Path) -> None:
    """Run a server until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with SERVERS[name](folder, series) as where:
        sys.stdout.write(json.dumps(where) + "\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
