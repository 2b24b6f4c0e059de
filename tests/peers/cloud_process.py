"""The stand-in for HealthImaging in a process of its own, so that measurements are the client's."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.testing.healthimaging import CloudStandIn, Credentials

_END_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudProcess:
    """Where it is, what it lets in, and the image sets that it began with."""

    endpoint_url: str
    region: str
    data_store_id: str
    image_set_ids: Sequence[str]
    credentials: Credentials


@contextmanager
def cloud_process(folder: Path, files: Path) -> Iterator[CloudProcess]:
    """Import the DICOM files of a folder and serve them until the block ends."""
    command = [sys.executable, "-m", __name__, str(folder), str(files)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        try:
            yield CloudProcess(**told | {"credentials": Credentials(**told["credentials"])})
        finally:
            # It ends with its standard input.
            process.communicate(timeout=_END_SECONDS)


async def _serve(folder: Path, files: Path) -> None:
    async with CloudStandIn(folder) as stand_in:
        contents = [path.read_bytes() for path in sorted(files.iterdir())]
        placements = await stand_in.import_files(contents)
        told = {
            "endpoint_url": stand_in.endpoint_url,
            "region": stand_in.region,
            "data_store_id": stand_in.data_store_id,
            "image_set_ids": sorted({one.image_set_id for one in placements}),
            "credentials": {
                "access_key_id": stand_in.credentials.access_key_id,
                "secret_access_key": stand_in.credentials.secret_access_key,
            },
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2])))
