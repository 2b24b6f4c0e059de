"""The control plane: data stores and their tags."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.answers import json_answer, json_body, page, path_identifier
from gateway.testing.healthimaging.behaviour import StorageFormat
from gateway.testing.healthimaging.data_stores import DataStore, DataStoreStatus
from gateway.testing.healthimaging.errors import ConflictError, NotFoundError, ValidationError
from gateway.testing.healthimaging.operation import Operation

_MOST_TAGS = 50


class ControlPlane:
    """Answers what is asked about data stores as a whole."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._made_by_token: dict[str, DataStore] = {}

    @property
    def operations(self) -> Sequence[Operation]:
        """What it answers."""
        store, tags = "/datastore/{datastoreId}", "/tags/{resourceArn:.+}"
        return (
            Operation("CreateDatastore", "POST", "/datastore", self._create),
            Operation("ListDatastores", "GET", "/datastore", self._list),
            Operation("GetDatastore", "GET", store, self._get),
            Operation("DeleteDatastore", "DELETE", store, self._delete),
            Operation("ListTagsForResource", "GET", tags, self._tags),
            Operation("TagResource", "POST", tags, self._tag),
            Operation("UntagResource", "DELETE", tags, self._untag),
        )

    async def _create(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        token = body.get("clientToken")
        if not token:
            raise ValidationError("clientToken is required")
        made = self._made_by_token.get(token)
        if made is None:
            made = self._made_by_token[token] = self._made(body)
            self._account.add_data_store(made)
        # Only the answer says so: it can be used at once.
        return json_answer({"datastoreId": made.identifier, "datastoreStatus": "CREATING"})

    def _made(self, body: dict[str, Any]) -> DataStore:
        try:
            storage_format = StorageFormat(body.get("losslessStorageFormat", StorageFormat.HTJ2K))
        except ValueError as error:
            raise ValidationError("losslessStorageFormat is unknown") from error
        return DataStore(
            name=str(body.get("datastoreName", "datastore")),
            behaviour=self._account.behaviour,
            created_at=self._account.now(),
            storage_format=storage_format,
            kms_key_arn=body.get("kmsKeyArn"),
            authorizer_arn=body.get("lambdaAuthorizerArn"),
            tags=dict(body.get("tags") or {}),
        )

    async def _list(self, request: web.Request) -> web.Response:
        wanted = request.query.get("datastoreStatus")
        stores = [
            one
            for one in self._account.data_stores.values()
            if wanted is None or one.status == wanted
        ]
        found, token = page(request, stores)
        summaries = [_summary(one) for one in found]
        return json_answer({"datastoreSummaries": summaries, "nextToken": token})

    async def _get(self, request: web.Request) -> web.Response:
        store = self._account.data_store(path_identifier(request, "datastoreId"))
        properties = _summary(store) | {"losslessStorageFormat": store.storage_format}
        if store.kms_key_arn:
            properties["kmsKeyArn"] = store.kms_key_arn
        if store.authorizer_arn:
            properties["lambdaAuthorizerArn"] = store.authorizer_arn
        return json_answer({"datastoreProperties": properties})

    async def _delete(self, request: web.Request) -> web.Response:
        store = self._account.active_data_store(path_identifier(request, "datastoreId"))
        if not store.is_empty:
            raise ConflictError(f"data store {store.identifier} still holds image sets")
        store.status = DataStoreStatus.DELETED
        return json_answer({"datastoreId": store.identifier, "datastoreStatus": "DELETING"})

    async def _tags(self, request: web.Request) -> web.Response:
        return json_answer({"tags": self._tagged(request)})

    async def _tag(self, request: web.Request) -> web.Response:
        tags = self._tagged(request)
        added = (await json_body(request)).get("tags") or {}
        if len(tags | added) > _MOST_TAGS:
            raise ValidationError(f"a resource has {_MOST_TAGS} tags at most")
        tags.update(added)
        return web.Response(status=204)

    async def _untag(self, request: web.Request) -> web.Response:
        tags = self._tagged(request)
        for key in request.query.getall("tagKeys", []):
            tags.pop(key, None)
        return web.Response(status=204)

    def _tagged(self, request: web.Request) -> dict[str, str]:
        arn = unquote(request.match_info["resourceArn"])
        for store in self._account.data_stores.values():
            if store.arn == arn:
                return store.tags
        raise NotFoundError(f"resource {arn} does not exist")


def _summary(store: DataStore) -> dict[str, Any]:
    return {
        "datastoreId": store.identifier,
        "datastoreName": store.name,
        "datastoreStatus": store.status,
        "datastoreArn": store.arn,
        "createdAt": store.created_at,
        "updatedAt": store.created_at,
    }
