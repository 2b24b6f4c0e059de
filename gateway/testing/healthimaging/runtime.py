"""The runtime plane: searching and reading image sets."""

import asyncio
import gzip
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from aiohttp import web

from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.answers import json_answer, json_body, page, path_identifier
from gateway.testing.healthimaging.data_stores import DataStore
from gateway.testing.healthimaging.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
)
from gateway.testing.healthimaging.faults import FaultKind
from gateway.testing.healthimaging.identifiers import require_identifier
from gateway.testing.healthimaging.image_sets import ImageSet, State, Version
from gateway.testing.healthimaging.metadata import MetadataForm, document
from gateway.testing.healthimaging.operation import Operation
from gateway.testing.healthimaging.search import searched, summary
from gateway.testing.healthimaging.spoiling import spoiled

_CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "1.2.840.10008.1.2.1": "application/octet-stream",
        "1.2.840.10008.1.2.4.50": "image/jpeg",
        "1.2.840.10008.1.2.4.91": "image/j2c",
        "1.2.840.10008.1.2.4.202": "image/jph",
        "1.2.840.10008.1.2.4.203": "image/jphc",
        "1.2.840.10008.1.2.4.112": "image/jxl",
        "1.2.840.10008.1.2.4.100": "video/mpeg",
        "1.2.840.10008.1.2.4.101": "video/mpeg",
        "1.2.840.10008.1.2.4.102": "video/mp4",
        "1.2.840.10008.1.2.4.103": "video/mp4",
        "1.2.840.10008.1.2.4.104": "video/mp4",
        "1.2.840.10008.1.2.4.105": "video/mp4",
        "1.2.840.10008.1.2.4.106": "video/mp4",
        "1.2.840.10008.1.2.4.107": "video/H256",
        "1.2.840.10008.1.2.4.108": "video/H256",
    }
)
"""By stored transfer syntax; API reference, GetImageFrame."""


class RuntimePlane:
    """Answers what is asked about image sets."""

    def __init__(self, account: Account) -> None:
        self._account = account

    @property
    def operations(self) -> Sequence[Operation]:
        """What it answers."""
        store = "/datastore/{datastoreId}"
        one = f"{store}/imageSet/{{imageSetId}}"
        return (
            Operation("SearchImageSets", "POST", f"{store}/searchImageSets", self._search),
            Operation("GetImageSet", "POST", f"{one}/getImageSet", self._get),
            Operation(
                "ListImageSetVersions", "POST", f"{one}/listImageSetVersions", self._versions
            ),
            Operation("GetImageSetMetadata", "POST", f"{one}/getImageSetMetadata", self._metadata),
            Operation("GetImageFrame", "POST", f"{one}/getImageFrame", self._frame),
        )

    async def _search(self, request: web.Request) -> web.Response:
        store = self._store(request)
        criteria = await json_body(request)
        now = self._account.now()
        known = [one for one in store.image_sets.values() if one.is_there and one.found_from <= now]
        found, token = page(request, searched(known, criteria))
        summaries = [summary(one, _of_study(known, one)) for one in found]
        sort = criteria.get("sort") or {"sortField": "updatedAt", "sortOrder": "DESC"}
        return json_answer(
            {"imageSetsMetadataSummaries": summaries, "sort": sort, "nextToken": token}
        )

    async def _get(self, request: web.Request) -> web.Response:
        store, image_set = self._image_set(request)
        version = image_set.version(request.query.get("version"))
        properties = _properties(image_set, version) | {
            "datastoreId": store.identifier,
            "imageSetArn": f"{store.arn}/imageset/{image_set.identifier}",
            "lastAccessedAt": image_set.updated_at,
            "storageTier": "FREQUENT_ACCESS",
        }
        if image_set.forced:
            properties["overrides"] = {"forced": True}
        return json_answer(properties)

    async def _versions(self, request: web.Request) -> web.Response:
        _, image_set = self._image_set(request)
        found, token = page(request, list(reversed(image_set.versions)))
        listed = []
        for version in found:
            properties = _properties(image_set, version)
            # This list alone has it with a capital letter.
            properties["ImageSetWorkflowStatus"] = properties.pop("imageSetWorkflowStatus")
            listed.append(properties)
        return json_answer({"imageSetPropertiesList": listed, "nextToken": token})

    async def _metadata(self, request: web.Request) -> web.Response:
        store, image_set = self._readable(request)
        if self._account.now() < image_set.processed_at:
            raise ConflictError(f"image set {image_set.identifier} is still being processed")
        version = image_set.version(request.query.get("version"))
        form = MetadataForm(nulls_pixel_data=self._account.behaviour.nulls_pixel_data)
        headers = {"Content-Type": "application/json"}
        made = document(store.identifier, image_set.identifier, version, form)
        body = await asyncio.to_thread(_encoded, made)
        if self._account.behaviour.compresses_metadata:
            body = await asyncio.to_thread(gzip.compress, body, 6)
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    async def _frame(self, request: web.Request) -> web.Response:
        _, image_set = self._readable(request)
        identifier = (await json_body(request)).get("imageFrameId")
        wanted = require_identifier(identifier, "imageFrameId")
        syntax = image_set.frame_syntaxes.get(wanted)
        if syntax is None:
            raise BadRequestError(f"image set {image_set.identifier} has no frame {wanted}")
        content = await asyncio.to_thread(self._account.storage.get, wanted)
        targets = (wanted, image_set.identifier)
        if self._account.faults.take("GetImageFrame", targets, [FaultKind.WRONG_PIXELS]):
            content = await asyncio.to_thread(spoiled, content, syntax)
        return web.Response(body=content, headers={"Content-Type": _content_type(syntax)})

    def _store(self, request: web.Request) -> DataStore:
        return self._account.active_data_store(path_identifier(request, "datastoreId"))

    def _image_set(self, request: web.Request) -> tuple[DataStore, ImageSet]:
        store = self._store(request)
        return store, store.image_set(path_identifier(request, "imageSetId"))

    def _readable(self, request: web.Request) -> tuple[DataStore, ImageSet]:
        store, image_set = self._image_set(request)
        if image_set.state is State.DELETED:
            raise NotFoundError(f"image set {image_set.identifier} does not exist")
        return store, image_set


def _encoded(made: Mapping[str, Any]) -> bytes:
    return json.dumps(made, ensure_ascii=False).encode()


def _of_study(image_sets: Sequence[ImageSet], one: ImageSet) -> list[ImageSet]:
    study = one.latest.first.study_instance_uid
    return [other for other in image_sets if other.latest.first.study_instance_uid == study]


def _content_type(transfer_syntax_uid: str) -> str:
    # The fragmentable variants of video are named by .1 after the other's UID.
    for uid in (transfer_syntax_uid, transfer_syntax_uid.removesuffix(".1")):
        if uid in _CONTENT_TYPES:
            return _CONTENT_TYPES[uid]
    return "application/octet-stream"


def _properties(image_set: ImageSet, version: Version) -> dict[str, Any]:
    is_latest = version is image_set.latest
    properties: dict[str, Any] = {
        "imageSetId": image_set.identifier,
        "versionId": str(version.number),
        "imageSetState": image_set.state if is_latest else State.ACTIVE,
        "imageSetWorkflowStatus": image_set.status if is_latest else version.status,
        "createdAt": image_set.created_at,
        "updatedAt": version.updated_at,
        "isPrimary": image_set.is_primary,
    }
    if image_set.message and is_latest:
        properties["message"] = image_set.message
    if image_set.deleted_at is not None and is_latest:
        properties["deletedAt"] = image_set.deleted_at
    return properties
