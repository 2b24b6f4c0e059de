"""AWS in this process: the stand-in for HealthImaging, and S3 by moto, each on a port of its own.

Everything is over the network, signed, and parsed by boto3, as with AWS itself.
"""

import asyncio
import gzip
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from gateway.testing.healthimaging import (
    Behaviour,
    CloudStandIn,
    Credentials,
    FaultBook,
    Placement,
    StorageFormat,
)

_T = TypeVar("_T")
_START_SECONDS = 10.0
_WORK_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cloud:
    """A running stand-in, and what reaches it."""

    stand_in: CloudStandIn
    loop: asyncio.AbstractEventLoop

    @property
    def endpoint_url(self) -> str:
        """The address of all three planes of HealthImaging."""
        return self.stand_in.endpoint_url

    @property
    def s3_endpoint_url(self) -> str:
        """The address of S3; empty where it was not asked for."""
        return self.stand_in.s3_endpoint_url or ""

    @property
    def data_store_id(self) -> str:
        """The data store that is there from the start."""
        return self.stand_in.data_store_id

    @property
    def credentials(self) -> Credentials:
        """What requests are signed with."""
        return self.stand_in.credentials

    @property
    def faults(self) -> FaultBook:
        """What the service does wrong from now on."""
        return self.stand_in.faults

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes AWS's own clients, in processes of their own, use this cloud."""
        return {
            "AWS_ENDPOINT_URL_MEDICAL_IMAGING": self.endpoint_url,
            "AWS_ENDPOINT_URL_S3": self.s3_endpoint_url,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_DEFAULT_REGION": self.stand_in.region,
            "AWS_REGION": self.stand_in.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    def client(self, credentials: Credentials | None = None, **options: Any) -> Any:
        """Return boto3's client of HealthImaging; it tries once only, unless told otherwise."""
        settings: dict[str, Any] = {"retries": {"total_max_attempts": 1}} | options
        return self._client(
            "medical-imaging",
            self.endpoint_url,
            credentials or self.credentials,
            Config(inject_host_prefix=False, **settings),
        )

    def s3(self) -> Any:
        """Return boto3's client of S3."""
        return self._client("s3", self.s3_endpoint_url, self.credentials, Config())

    def behave(self, **changes: Any) -> None:
        """Have the service behave otherwise from the next request on, in fields of `Behaviour`."""
        self.stand_in.behave(replace(self.stand_in.behaviour, **changes))

    def import_files(self, files: Sequence[bytes | Path]) -> list[Placement]:
        """Import DICOM files at once, without any request; return where each one went."""
        contents = [one.read_bytes() if isinstance(one, Path) else one for one in files]
        return self._done(self.stand_in.import_files(contents))

    def metadata(self, image_set_id: str, **version: str) -> dict[str, Any]:
        """Return the metadata of an image set as boto3 reads it."""
        answer = self.client().get_image_set_metadata(
            datastoreId=self.data_store_id, imageSetId=image_set_id, **version
        )
        content = answer["imageSetMetadataBlob"].read()
        is_gzipped = answer.get("contentEncoding") == "gzip"
        return dict(json.loads(gzip.decompress(content) if is_gzipped else content))

    def _client(self, name: str, url: str, credentials: Credentials, config: Config) -> Any:
        return boto3.client(
            name,
            endpoint_url=url,
            region_name=self.stand_in.region,
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token,
            config=config,
        )

    def _done(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_WORK_SECONDS)


@contextmanager
def open_cloud(
    folder: Path,
    *,
    behaviour: Behaviour | None = None,
    storage_format: StorageFormat = StorageFormat.HTJ2K,
    with_s3: bool = False,
    s3_endpoint_url: str | None = None,
    **options: Any,
) -> Iterator[Cloud]:
    """Run until the block ends, in threads of this process.

    With S3 of its own there are buckets ``staged`` and ``results`` in it; else the S3 of
    another cloud may be named. ``options`` are those of `CloudStandIn`.
    """
    with _s3(wanted=with_s3) as own_s3, _loop() as loop:
        stand_in = CloudStandIn(
            folder,
            behaviour=behaviour,
            storage_format=storage_format,
            s3_endpoint_url=own_s3 or s3_endpoint_url,
            **options,
        )
        cloud = Cloud(stand_in=stand_in, loop=loop)
        asyncio.run_coroutine_threadsafe(stand_in.__aenter__(), loop).result(_START_SECONDS)
        try:
            if with_s3:
                for bucket in ("staged", "results"):
                    cloud.s3().create_bucket(Bucket=bucket)
            yield cloud
        finally:
            ended = stand_in.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(ended, loop).result(_START_SECONDS)


@contextmanager
def _s3(*, wanted: bool) -> Iterator[str | None]:
    if not wanted:
        yield None
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cloud", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
