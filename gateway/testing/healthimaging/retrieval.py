"""The retrieve transactions of the DICOMweb plane (WADO-RS, PS3.18 section 10.4)."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.testing.healthimaging.acceptance import (
    DICOM_JSON,
    frame_rendering,
    instance_rendering,
    require_json,
)
from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.answers import path_identifier
from gateway.testing.healthimaging.data_stores import DataStore
from gateway.testing.healthimaging.dicom_json import bulk_data, instance_json
from gateway.testing.healthimaging.errors import NotFoundError, ValidationError
from gateway.testing.healthimaging.identifiers import require_identifier
from gateway.testing.healthimaging.image_sets import ImageSet
from gateway.testing.healthimaging.instances import StoredInstance, instance_path
from gateway.testing.healthimaging.operation import Operation
from gateway.testing.healthimaging.rendering import Rendering

_STORE = "/datastore/{datastoreId}"
_SERIES = f"{_STORE}/studies/{{study}}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"


class RetrievePlane:
    """Answers what is asked for instances, their frames and their metadata."""

    def __init__(self, account: Account) -> None:
        self._account = account

    @property
    def operations(self) -> Sequence[Operation]:
        """What it answers."""
        return (
            Operation("GetDICOMInstance", "GET", _INSTANCE, self._instance),
            Operation("GetDICOMInstanceMetadata", "GET", f"{_INSTANCE}/metadata", self._metadata),
            Operation(
                "GetDICOMInstanceFrames", "GET", f"{_INSTANCE}/frames/{{frames}}", self._frames
            ),
            Operation("GetDICOMSeriesMetadata", "GET", f"{_SERIES}/metadata", self._series),
            Operation("GetDICOMBulkdata", "GET", f"{_INSTANCE}/bulkdata/{{hash}}", self._bulk_data),
        )

    async def _instance(self, request: web.Request) -> web.Response:
        instance = self._found(request)
        rendering = instance_rendering(request, instance, self._account.storage)
        content = await self._account.work(rendering.file)
        syntax = rendering.transfer_syntax_uid
        headers = {"Content-Type": f"application/dicom; transfer-syntax={syntax}"}
        return web.Response(body=content, headers=headers)

    async def _metadata(self, request: web.Request) -> web.Response:
        require_json(request)
        return await self._described(request, [self._found(request)])

    async def _series(self, request: web.Request) -> web.Response:
        require_json(request)
        instances = _Scope(request).instances(self._store(request))
        if not instances:
            raise NotFoundError("the series does not exist")
        return await self._described(request, instances)

    async def _described(
        self, request: web.Request, instances: Sequence[StoredInstance]
    ) -> web.Response:
        root = f"{request.scheme}://{request.host}/datastore/{self._store(request).identifier}"
        described = await self._account.work(_described, instances, root)
        return web.json_response(described, content_type=DICOM_JSON)

    async def _frames(self, request: web.Request) -> web.Response:
        instance = self._found(request)
        numbers = _numbers(request.match_info["frames"])
        if max(numbers) > len(instance.frames):
            raise NotFoundError(f"the instance has {len(instance.frames)} frames")
        rendering = frame_rendering(request, instance, self._account.storage)
        boundary = secrets.token_hex(16)
        body = await self._account.work(_multipart, rendering, numbers, boundary)
        kind = f'multipart/related; type="application/octet-stream"; boundary="{boundary}"'
        return web.Response(body=body, headers={"Content-Type": kind})

    async def _bulk_data(self, request: web.Request) -> web.Response:
        wanted = request.match_info["hash"]
        content = await self._account.work(bulk_data, self._found(request), wanted)
        if content is None:
            raise NotFoundError("the instance has no such bulk data")
        return web.Response(body=content, content_type="application/octet-stream")

    def _store(self, request: web.Request) -> DataStore:
        return self._account.active_data_store(path_identifier(request, "datastoreId"))

    def _found(self, request: web.Request) -> StoredInstance:
        wanted = request.match_info["instance"]
        for instance in _Scope(request).instances(self._store(request)):
            if instance.sop_instance_uid == wanted:
                return instance
        raise NotFoundError(f"instance {wanted} does not exist")


@dataclass(frozen=True, slots=True)
class _Scope:
    """The series that a request's path names, and the image set that its query may name."""

    request: web.Request

    def instances(self, store: DataStore) -> list[StoredInstance]:
        """Return the instances of the series; of primary image sets unless one is named."""
        study, series = (self.request.match_info[name] for name in ("study", "series"))
        return [
            instance
            for image_set in self._image_sets(store)
            for instance in image_set.latest.instances.values()
            if (instance.study_instance_uid, instance.series_instance_uid) == (study, series)
        ]

    def _image_sets(self, store: DataStore) -> list[ImageSet]:
        named = self.request.query.get("imageSetId")
        if named is not None:
            image_set = store.image_set(require_identifier(named, "imageSetId"))
            return [image_set] if image_set.is_there else []
        return [one for one in store.image_sets.values() if one.is_primary and one.is_there]


def _described(instances: Sequence[StoredInstance], root: str) -> list[dict[str, Any]]:
    return [
        instance_json(one, f"{root}/studies/{instance_path(one)}/bulkdata") for one in instances
    ]


def _numbers(text: str) -> list[int]:
    """Return frame numbers, from 1, without duplicates.

    Raises:
        ValidationError: they are none.
    """
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValidationError("frames are numbers from 1, with commas between them")
    if len(set(parts)) != len(parts):
        raise ValidationError("a frame is listed twice")
    return [int(part) for part in parts]


def _multipart(rendering: Rendering, numbers: Sequence[int], boundary: str) -> bytes:
    kind = f"application/octet-stream; transfer-syntax={rendering.transfer_syntax_uid}"
    head = f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()
    parts = [head + frame + b"\r\n" for frame in rendering.frames(numbers)]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()
