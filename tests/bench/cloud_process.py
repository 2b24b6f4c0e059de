"""``python -m tests.bench.cloud_process FRAMES SERIES``: a data store with one image set.

The stand-in for HealthImaging in a process of its own: what it costs is not the readers'. It
prints what reaches the image set as one line of JSON, and runs until it is ended.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from gateway.testing.healthimaging import CloudStandIn


async def serve(frames: Path, series: Path) -> None:
    """Import the files of a series, say where they are, and wait for the end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with CloudStandIn(frames) as cloud:
        files = [path.read_bytes() for path in sorted(series.iterdir())]
        placed = await cloud.import_files(files)
        del files
        found = {
            "endpoint_url": cloud.endpoint_url,
            "datastore_id": cloud.data_store_id,
            "image_set_id": placed[0].image_set_id,
            "region": cloud.region,
            "access_key_id": cloud.credentials.access_key_id,
            "secret_access_key": cloud.credentials.secret_access_key,
        }
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
