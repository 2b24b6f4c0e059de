"""The store transaction over HTTP (STOW-RS, PS3.18 section 10.5)."""

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

import structlog
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.dicom.uids import is_uid
from gateway.dicomweb.answer_type import answer_type
from gateway.dicomweb.incoming import IncomingInstance
from gateway.dicomweb.media_type import MediaType
from gateway.dicomweb.multipart import Body, Multipart, Parts, SinglePart, require_boundary
from gateway.dicomweb.places import Places
from gateway.dicomweb.store_completion import StoreCompletion, whole_series
from gateway.dicomweb.store_response import JSON, XML, StoreResponse
from gateway.dicomweb.store_transaction import StoreTransaction
from gateway.errors import RequestMalformed, StoreUnavailable
from gateway.store import NodeStore, Origin

_log = structlog.get_logger()
_DICOM = "application/dicom"
_MULTIPART = "multipart/related"
_MOST_REQUESTS = 16
_MOST_KEEPING = 8
_GRACE_SECONDS = 0.4
"""Clients that cut a series into several requests begin the next one at once: what it brings is
there by then, and tells that the one before did not bring all."""
_MOST_REASONS_LOGGED = 10
_BAD_REQUEST = 400
_PAUSE_SECONDS = 1.0

_P = ParamSpec("_P")
_T = TypeVar("_T")


class StoreService:
    """Serves ``POST studies`` and ``POST studies/{study}``.

    Bodies are read as they come: of each request, a few megabytes are in memory at most,
    and 16 requests are served at once. Others wait, for 10 s at most.

    To the index a request is an association of ``process``: a series is not complete while one
    that brings it is under way.
    """

    def __init__(self, store: NodeStore, process: str, *, idle_seconds: float) -> None:
        self._store = store
        self._process = process
        self._idle_seconds = idle_seconds
        self._completion = StoreCompletion(store)
        self._places = Places(_MOST_REQUESTS, "store")
        self._readers = ThreadPoolExecutor(_MOST_REQUESTS, thread_name_prefix="store-request")
        self._keepers = ThreadPoolExecutor(_MOST_KEEPING, thread_name_prefix="store-instance")
        self._ending: set[asyncio.Task[None]] = set()

    def add_routes(self, app: web.Application, root: str) -> None:
        """Serve below a path of an application, and end with it."""
        app.router.add_post(f"{root}/studies", self.store)
        app.router.add_post(f"{root}/studies/{{study}}", self.store)
        app.on_cleanup.append(self._end)

    async def store(self, request: web.Request) -> web.Response:
        """Answer a store request.

        Raises:
            web.HTTPException: the request is refused before its body is read.
        """
        media_type = answer_type(request, (JSON, XML))
        study = _study(request)
        body = _body(request)
        async with self._places.place():
            origin = await self._entered(request)
            response = None
            try:
                response = await self._received(request, body, origin, study)
            finally:
                self._end_soon(origin, response)
        _note(request, response)
        return _answer(response, media_type)

    async def _entered(self, request: web.Request) -> Origin:
        """Enter the request into the index.

        Raises:
            web.HTTPServiceUnavailable: the index does not take it.
        """
        association_id = str(uuid.uuid4())
        origin = Origin(calling_ae="", called_ae="", source="stow", association_id=association_id)
        opened = self._store.associations.opened
        host = request.remote or ""
        try:
            await self._in_thread(opened, association_id, self._process, origin, host)
        except StoreUnavailable as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        return origin

    async def _received(
        self,
        request: web.Request,
        body: Callable[[Parts], Body],
        origin: Origin,
        study: str | None,
    ) -> StoreResponse:
        incoming = partial(IncomingInstance, self._store, origin, study)
        transaction = StoreTransaction(body, incoming, self._keepers)
        try:
            problem = await self._read(request.content, transaction)
            return await self._in_thread(transaction.finish, problem)
        finally:
            await asyncio.shield(self._in_thread(transaction.close))

    async def _read(self, content: StreamReader, transaction: StoreTransaction) -> str:
        """Hand on a body as it comes; return why it broke off, or nothing."""
        try:
            while True:
                async with asyncio.timeout(self._idle_seconds):
                    received = await content.readany()
                if not received or not await self._in_thread(transaction.feed, received):
                    return ""
        except TimeoutError:
            return f"no byte of the request came for {self._idle_seconds:g} s"
        except OSError:
            return "the connection ended in the middle of the request"
        except (web.RequestPayloadError, HttpProcessingError):
            return "the body is not encoded as the header of the request says"

    async def _in_thread(self, work: Callable[_P, _T], *values: _P.args, **names: _P.kwargs) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, partial(work, *values, **names))

    def _end_soon(self, origin: Origin, response: StoreResponse | None) -> None:
        task = asyncio.create_task(self._end_request(origin, response))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_request(self, origin: Origin, response: StoreResponse | None) -> None:
        """Note the end of a request, and hold complete what it brought whole."""
        is_whole = response is not None and not response.problem
        await self._close(str(origin.association_id), "released" if is_whole else "aborted")
        whole = () if response is None else whole_series(response)
        if whole:
            await asyncio.sleep(_GRACE_SECONDS)
            await self._in_thread(self._completion.complete, whole)

    async def _close(self, association_id: str, ended: str) -> None:
        while True:
            try:
                return await self._in_thread(self._store.associations.closed, association_id, ended)
            except StoreUnavailable as error:
                _log.warning("request_end_not_indexed", reason=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _end(self, _: web.Application) -> None:
        """End the threads; what is not held complete by now is left to the quiet time."""
        for task in self._ending:
            task.cancel()
        for executor in (self._readers, self._keepers):
            await asyncio.to_thread(executor.shutdown)


def _study(request: web.Request) -> str | None:
    study = request.match_info.get("study")
    if study is not None and not is_uid(study):
        raise web.HTTPBadRequest(text="the path does not end with a Study Instance UID\n")
    return study


def _body(request: web.Request) -> Callable[[Parts], Body]:
    """Return what reads the body of a request."""
    kind = MediaType.parse(request.headers.get("Content-Type", ""))
    if kind is None or kind.name not in (_DICOM, _MULTIPART):
        raise _unsupported("" if kind is None else kind.name)
    if "Content-Length" not in request.headers and "Transfer-Encoding" not in request.headers:
        raise web.HTTPLengthRequired(text="the request has neither a length nor chunks\n")
    if kind.name == _DICOM:
        return SinglePart
    type_of_parts = kind.parameters.get("type", _DICOM).lower()
    if type_of_parts != _DICOM:
        raise _unsupported(f"{_MULTIPART} with type {type_of_parts}")
    boundary = kind.parameters.get("boundary", "")
    try:
        require_boundary(boundary)
    except RequestMalformed as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
    return partial(Multipart, boundary)


def _unsupported(named: str) -> web.HTTPException:
    return web.HTTPUnsupportedMediaType(
        text=f"{named or 'a request without Content-Type'} is not taken: send instances as "
        f'{_DICOM}, or several as {_MULTIPART}; type="{_DICOM}"\n'
    )


def _note(request: web.Request, response: StoreResponse) -> None:
    """Log what became of a request; instances are named by their UIDs only."""
    refused = Counter(str(one.error) for one in response.failed)
    _log.log(
        logging.WARNING if refused else logging.INFO,
        "store_request",
        host=request.remote,
        status=response.status,
        stored=len(response.stored),
        failed=len(response.failed),
        reasons=dict(refused.most_common(_MOST_REASONS_LOGGED)),
        refused=[one.sop_instance_uid for one in response.failed if one.is_named][
            :_MOST_REASONS_LOGGED
        ],
    )


def _answer(response: StoreResponse, media_type: str) -> web.Response:
    if response.status == _BAD_REQUEST:
        problem = response.problem or "the request holds no instance"
        raise web.HTTPBadRequest(text=f"{problem}\n")
    warning = {"Warning": f'299 gateway "{response.problem}"'} if response.problem else {}
    return web.Response(
        status=response.status,
        body=response.body(media_type),
        headers={"Content-Type": media_type, **warning},
    )
