"""``python -m tests.bench.push_process SENDER SERIES WHERE``: a series sent once.

``WHERE`` is what `push_servers` printed. Prints ``{seconds, instances, peak_bytes}``: the time
begins when the process is ready to send and ends with the last answer, and the memory is the most
that the process ever had resident.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import boto3

from gateway.healthimaging import DataStore, Session
from gateway.healthimaging.buckets import Buckets
from gateway.healthimaging.outcomes import InstanceOutcome, Outcome
from gateway.healthimaging.outgoing import Outgoing, dicom_file
from gateway.healthimaging.parts import STORE_REQUEST, cut
from gateway.healthimaging.places import S3Place
from gateway.healthimaging.staging import AT_ONCE as PUTS_AT_ONCE
from gateway.healthimaging.staging import stage
from gateway.healthimaging.store_body import StoreBody
from gateway.healthimaging.storing import AT_ONCE as REQUESTS_AT_ONCE
from gateway.healthimaging.storing import StoreRequests
from tests.bench.push_servers import BUCKET
from tests.bench.resources import peak_bytes

Where = Mapping[str, Any]


def gateway_stow(instances: Sequence[Outgoing], where: Where) -> tuple[float, int]:
    """Send by this project's STOW-RS: read twice, digested, signed, and each answer read."""

    async def send() -> tuple[float, int]:
        stored: list[str] = []

        async def answered(_: int, outcomes: dict[str, InstanceOutcome]) -> None:
            stored.extend(u for u, one in outcomes.items() if one.outcome is Outcome.STORED)

        async with Session(_data_store(where)) as session:
            began = time.monotonic()
            await StoreRequests(session, answered).send(list(cut(instances, STORE_REQUEST)))
            return time.monotonic() - began, len(stored)

    return asyncio.run(send())


def bare_aiohttp(instances: Sequence[Outgoing], where: Where) -> tuple[float, int]:
    """Send the same bodies from memory by aiohttp alone, unsigned, as many at once."""
    parts = list(cut(instances, STORE_REQUEST))
    made = [StoreBody(part) for part in parts]
    bodies = [(one.content_type, b"".join(one.chunks())) for one in made]
    url = f"{where['endpoint_url']}/datastore/{where['datastore_id']}/studies"

    async def send() -> float:
        slots = asyncio.Semaphore(REQUESTS_AT_ONCE)
        async with aiohttp.ClientSession() as client:

            async def post(content_type: str, body: bytes) -> None:
                headers = {"Content-Type": content_type, "Accept": "application/dicom+json"}
                async with slots, client.post(url, data=body, headers=headers) as response:
                    response.raise_for_status()
                    await response.read()

            began = time.monotonic()
            await asyncio.gather(*(post(*one) for one in bodies))
            return time.monotonic() - began

    return asyncio.run(send()), len(instances)


def gateway_s3(instances: Sequence[Outgoing], where: Where) -> tuple[float, int]:
    """Stage for an import job, as this project does."""
    buckets, place = Buckets(_data_store(where)), S3Place(bucket=BUCKET, prefix=_prefix())
    next(buckets.list(place), None)
    began = time.monotonic()
    stage(buckets, place, instances)
    seconds = time.monotonic() - began
    return seconds, sum(1 for _ in buckets.list(place))


def bare_boto3(instances: Sequence[Outgoing], where: Where) -> tuple[float, int]:
    """Put the same bytes from memory by boto3 alone, as many at once."""
    client = boto3.client("s3", endpoint_url=where["s3_endpoint_url"])
    prefix = _prefix()
    contents = [one.open().read() for one in instances]

    def put(number: int) -> None:
        client.put_object(Bucket=BUCKET, Key=f"{prefix}{number}", Body=contents[number])

    with ThreadPoolExecutor(PUTS_AT_ONCE) as threads:
        began = time.monotonic()
        list(threads.map(put, range(len(contents))))
        return time.monotonic() - began, len(contents)


SENDERS = {
    "gateway-stow": gateway_stow,
    "aiohttp": bare_aiohttp,
    "gateway-s3": gateway_s3,
    "boto3": bare_boto3,
}


def _data_store(where: Where) -> DataStore:
    return DataStore(
        name="bench",
        region="us-east-1",
        datastore_id=where.get("datastore_id", "0" * 32),
        endpoint_url=where.get("endpoint_url", ""),
        s3_endpoint_url=where.get("s3_endpoint_url", ""),
    )


def _prefix() -> str:
    return f"{uuid.uuid4().hex}/"


def main(sender: str, series: str, where: str) -> None:
    """Send once, and tell."""
    instances = [dicom_file(path) for path in sorted(Path(series).iterdir())]
    seconds, stored = SENDERS[sender](instances, json.loads(where))
    told = {"seconds": seconds, "instances": stored, "peak_bytes": peak_bytes(os.getpid())}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
