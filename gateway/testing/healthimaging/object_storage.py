"""Files staged in S3, and results written to it."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from gateway.testing.healthimaging.errors import ServiceError, ValidationError
from gateway.testing.healthimaging.signature import Credentials

_URI = re.compile(r"s3://(?P<bucket>[A-Za-z0-9._-]+)(?:/(?P<prefix>.*))?", re.DOTALL)
_LONGEST_URI = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A bucket, and what keys in it begin with."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, uri: object, name: str) -> Self:
        """Read an ``s3://`` URI.

        Raises:
            ValidationError: it is none.
        """
        found = _URI.fullmatch(uri) if isinstance(uri, str) and len(uri) <= _LONGEST_URI else None
        if found is None:
            raise ValidationError(f"{name} must match s3://bucket/prefix")
        return cls(bucket=found["bucket"], prefix=found["prefix"] or "")

    def within(self, name: str) -> Self:
        """Return the folder of that name below this one."""
        prefix = self.prefix if not self.prefix or self.prefix.endswith("/") else f"{self.prefix}/"
        return type(self)(bucket=self.bucket, prefix=f"{prefix}{name}/")

    @property
    def uri(self) -> str:
        """The location as a URI."""
        return f"s3://{self.bucket}/{self.prefix}"


class ObjectStorageError(ServiceError):
    """S3 did not give, or did not take, what a job needs."""


class ObjectStorage:
    """S3 at an endpoint; every method waits for the network, in whatever thread."""

    def __init__(self, endpoint_url: str, region: str, credentials: Credentials) -> None:
        self._turn = threading.Lock()
        self._made: Any = None
        self._options: Mapping[str, Any] = {
            "endpoint_url": endpoint_url,
            "region_name": region,
            "aws_access_key_id": credentials.access_key_id,
            "aws_secret_access_key": credentials.secret_access_key,
            "aws_session_token": credentials.session_token,
        }

    def sizes(self, location: Location) -> dict[str, int]:
        """Return the keys that begin with a prefix, in their order, with lengths in bytes.

        Raises:
            ObjectStorageError: the bucket cannot be listed.
        """
        pages = self._client().get_paginator("list_objects_v2")
        try:
            found = [
                (item["Key"], int(item["Size"]))
                for page in pages.paginate(Bucket=location.bucket, Prefix=location.prefix)
                for item in page.get("Contents", [])
            ]
        except (BotoCoreError, ClientError) as error:
            raise ObjectStorageError(f"{location.uri} cannot be listed: {error}") from error
        return {key: size for key, size in found if not key.endswith("/")}

    def get(self, bucket: str, key: str) -> bytes:
        """Return an object.

        Raises:
            ObjectStorageError: it cannot be read.
        """
        try:
            return bytes(self._client().get_object(Bucket=bucket, Key=key)["Body"].read())
        except (BotoCoreError, ClientError) as error:
            raise ObjectStorageError(f"s3://{bucket}/{key} cannot be read: {error}") from error

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object.

        Raises:
            ObjectStorageError: it cannot be written.
        """
        try:
            self._client().put_object(Bucket=bucket, Key=key, Body=content)
        except (BotoCoreError, ClientError) as error:
            raise ObjectStorageError(f"s3://{bucket}/{key} cannot be written: {error}") from error

    def _client(self) -> Any:
        with self._turn:
            if self._made is None:
                # A session of its own: making clients of the shared one is not safe in threads.
                self._made = boto3.session.Session().client("s3", **self._options)
            return self._made
