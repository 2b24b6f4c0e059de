"""Objects in S3 that import jobs read and write."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from gateway.errors import AccessRefused, GatewayError, NotFound, PeerBusy, PeerUnavailable
from gateway.healthimaging.data_store import DataStore
from gateway.healthimaging.outgoing import Outgoing
from gateway.healthimaging.places import S3Place

CONNECTIONS = 32
_LARGEST_SINGLE_BYTES = 64 * 2**20
"""A larger object goes in pieces, each of which is repeated by itself."""
_KEYS_AT_ONCE = 1000
_CONNECT_SECONDS = 10
_READ_SECONDS = 120
_ATTEMPTS = 5
_EXPIRED = frozenset({"ExpiredToken", "RequestExpired", "TokenRefreshRequired"})
_UNKNOWN = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"})
_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
)
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """An object of a bucket."""

    key: str
    size_bytes: int
    modified_at: float
    """Seconds since 1970."""


class Buckets:
    """The buckets that a node's import jobs use; threads may share it.

    Credentials are found as the AWS SDKs find them, and anew when they are not accepted.
    """

    def __init__(self, data_store: DataStore) -> None:
        self._data_store = data_store
        self._making = threading.Lock()
        self._client: Any = None

    def put(self, place: S3Place, name: str, instance: Outgoing) -> None:
        """Write an instance; its object is there whole or not at all.

        Raises:
            GatewayError: the bucket does not take it; it names the setting to look at.
        """
        with self._refusals(place, "input_s3_uri") as client, instance.open() as file:
            if instance.size_bytes > _LARGEST_SINGLE_BYTES:
                client.upload_fileobj(
                    file, place.bucket, place.key(name), Config=TransferConfig(use_threads=False)
                )
            else:
                client.put_object(Bucket=place.bucket, Key=place.key(name), Body=file)

    def get(self, place: S3Place, name: str) -> bytes | None:
        """Return an object, or nothing where there is none."""
        with self._refusals(place, "output_s3_uri") as client:
            try:
                found = client.get_object(Bucket=place.bucket, Key=place.key(name))
                return bytes(found["Body"].read())
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise

    def list(self, place: S3Place) -> Iterator[StoredObject]:
        """Give every object in a place and below."""
        with self._refusals(place, "input_s3_uri") as client:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=place.bucket, Prefix=place.prefix
            )
            for page in pages:
                for one in page.get("Contents", ()):
                    yield StoredObject(
                        key=one["Key"],
                        size_bytes=one["Size"],
                        modified_at=one["LastModified"].timestamp(),
                    )

    def clear(self, place: S3Place) -> int:
        """Delete every object in a place and below; return how many there were."""
        keys = [one.key for one in self.list(place)]
        with self._refusals(place, "input_s3_uri") as client:
            for at in range(0, len(keys), _KEYS_AT_ONCE):
                objects = [{"Key": key} for key in keys[at : at + _KEYS_AT_ONCE]]
                answer = client.delete_objects(
                    Bucket=place.bucket, Delete={"Objects": objects, "Quiet": True}
                )
                for failed in answer.get("Errors", ()):
                    raise self._refused(place, "input_s3_uri", str(failed.get("Code")))
        return len(keys)

    @contextmanager
    def _refusals(self, place: S3Place, setting: str) -> Iterator[Any]:
        """Give the client, and turn what it raises into errors of the gateway."""
        try:
            yield self._made()
        except ClientError as error:
            if _code(error) in _EXPIRED | _UNKNOWN:
                self._client = None
            raise self._refused(place, setting, _code(error)) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise AccessRefused(
                f"{place}: there are no AWS credentials, or they are incomplete; set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, name a profile "
                "by AWS_PROFILE, or give this machine an IAM role"
            ) from error
        except (EndpointConnectionError, HTTPClientError) as error:
            key = "s3_endpoint_url" if self._data_store.s3_endpoint_url else "region"
            raise PeerUnavailable(
                f"S3 cannot be reached ({type(error).__name__}); check "
                f"{self._data_store.setting(key)}, the network and HTTPS_PROXY"
            ) from error
        except BotoCoreError as error:
            raise PeerUnavailable(f"{place}: S3 failed ({type(error).__name__})") from error

    def _refused(self, place: S3Place, key: str, code: str) -> GatewayError:
        said = f"{place}: S3 answered {code}"
        setting = self._data_store.setting
        if code == "NoSuchBucket":
            return NotFound(f"{said}; check {setting(key)}")
        if code in _REGION:
            return AccessRefused(f"{said}; the bucket is not in {setting('region')}")
        if code in _EXPIRED:
            return PeerUnavailable(
                f"{said}; the credentials have ended: renew AWS_SESSION_TOKEN or the profile's"
            )
        if code in _UNKNOWN:
            return AccessRefused(
                f"{said}; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile"
            )
        if code in ("AccessDenied", "403", "AllAccessDisabled"):
            return AccessRefused(
                f"{said}; check {setting(key)}, and that the credentials may list, read, write "
                "and delete there"
            )
        if code in ("SlowDown", "429", "Throttling", "RequestLimitExceeded"):
            return PeerBusy(f"{said}; more requests than the bucket takes")
        return PeerUnavailable(said)

    def _made(self) -> Any:
        with self._making:
            if self._client is None:
                self._client = boto3.Session().client(
                    "s3",
                    region_name=self._data_store.region,
                    endpoint_url=self._data_store.s3_endpoint_url or None,
                    config=Config(
                        max_pool_connections=CONNECTIONS,
                        connect_timeout=_CONNECT_SECONDS,
                        read_timeout=_READ_SECONDS,
                        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                        # A stand-in has no name for each bucket.
                        s3={"addressing_style": self._addressing},
                    ),
                )
            return self._client

    @property
    def _addressing(self) -> str:
        return "path" if self._data_store.s3_endpoint_url else "auto"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
