"""The search transaction over HTTP (QIDO-RS, PS3.18 section 10.6)."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import MappingProxyType

import structlog
from aiohttp import web

from gateway.dicom.query import INSTANCE_AVAILABILITY, Level, Query
from gateway.dicomweb.answer_type import answer_type
from gateway.dicomweb.dicom_json import Item, json_item
from gateway.dicomweb.places import Places
from gateway.dicomweb.search_request import SearchRequest, search_request
from gateway.errors import IdentifierRefused, StoreUnavailable
from gateway.store import NodeStore
from gateway.store.queries import Found, QueryIndex

_log = structlog.get_logger()
_MEDIA_TYPES = ("application/dicom+json", "application/json")
_MOST_REQUESTS = 4
_STUDIES = "studies/{study}"
_SERIES = f"{_STUDIES}/series/{{series}}"
_RESOURCES: Mapping[str, Level] = MappingProxyType(
    {
        "studies": Level.STUDY,
        "series": Level.SERIES,
        "instances": Level.IMAGE,
        f"{_STUDIES}/series": Level.SERIES,
        f"{_STUDIES}/instances": Level.IMAGE,
        f"{_SERIES}/instances": Level.IMAGE,
    }
)
"""What is searched below a service's root, and for what (PS3.18 table 10.6.1-1)."""
_UIDS_IN_PATH: Mapping[str, int] = MappingProxyType({"study": 0x0020000D, "series": 0x0020000E})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Page:
    """What a search found, as it is answered."""

    number: int
    body: bytes
    is_cut: bool
    """Whether more is found than the node gives at once."""


class SearchService:
    """Answers searches for studies, series and instances from the index, as C-FIND does.

    An answer holds 1,000 matches at most, and four searches run at once. Others wait, for 10 s at
    most.
    """

    def __init__(self, store: NodeStore) -> None:
        self._index = QueryIndex(store.database)
        self._places = Places(_MOST_REQUESTS, "search")
        self._threads = ThreadPoolExecutor(_MOST_REQUESTS, thread_name_prefix="search")

    def add_routes(self, app: web.Application, root: str) -> None:
        """Serve below a path of an application, and end with it."""
        for resource, level in _RESOURCES.items():
            app.router.add_get(f"{root}/{resource}", self._search(level))
        app.on_cleanup.append(self._end)

    def _search(self, level: Level) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def search(request: web.Request) -> web.Response:
            media_type = answer_type(request, _MEDIA_TYPES)
            wanted = _request(level, request)
            async with self._places.place():
                page = await self._page(wanted)
            _log.info("search_request", host=request.remote, level=level.value, found=page.number)
            return _answer(wanted, page, media_type)

        return search

    async def _page(self, wanted: SearchRequest) -> _Page:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(_found, self._index, wanted))
        except StoreUnavailable as error:
            raise web.HTTPServiceUnavailable(
                text=f"{error}\n", headers={"Retry-After": "10"}
            ) from error

    async def _end(self, _: web.Application) -> None:
        await asyncio.to_thread(self._threads.shutdown)


def _found(index: QueryIndex, wanted: SearchRequest) -> _Page:
    """Search, and write what is found."""
    most = wanted.most + wanted.is_limited_here
    found = index.find(wanted.query, skipped=wanted.offset)
    items = [_item(wanted.query, one) for one in islice(found, most)]
    kept = items[: wanted.most]
    body = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
    return _Page(number=len(kept), body=body, is_cut=len(items) > len(kept))


def _item(query: Query, found: Found) -> Item:
    """Return one match; it has no Retrieve URL, since nothing can be retrieved over HTTP."""
    values = {tag: found.get(name, "") for tag, name in query.returned.items()}
    return json_item({**values, INSTANCE_AVAILABILITY: "ONLINE"})


def _request(level: Level, request: web.Request) -> SearchRequest:
    path = {_UIDS_IN_PATH[name]: uid for name, uid in request.match_info.items()}
    try:
        return search_request(level, path, tuple(request.query.items()))
    except IdentifierRefused as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error


def _answer(wanted: SearchRequest, page: _Page, media_type: str) -> web.Response:
    """Return 200 also where nothing matches: every client takes an empty list."""
    warnings = [*wanted.warnings]
    if page.is_cut:
        following = wanted.offset + wanted.most
        warnings.append(
            f"The number of results exceeded the maximum of {wanted.most} at once. "
            f"Additional results can be requested with offset={following}"
        )
    answer = web.Response(body=page.body, content_type=media_type)
    answer.headers["Cache-Control"] = "no-store"
    for warning in warnings:
        answer.headers.add("Warning", f'299 gateway "{warning}"')
    return answer
