"""All three planes of the service on one address; their paths do not collide."""

import asyncio
import json
from collections.abc import Iterable

from aiohttp import web

from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.admission import Admission
from gateway.testing.healthimaging.answers import error_answer
from gateway.testing.healthimaging.changing import ChangePlane
from gateway.testing.healthimaging.control import ControlPlane
from gateway.testing.healthimaging.errors import ServiceError
from gateway.testing.healthimaging.faults import Fault, FaultKind
from gateway.testing.healthimaging.import_jobs import ImportJobs
from gateway.testing.healthimaging.import_plane import ImportPlane
from gateway.testing.healthimaging.object_storage import ObjectStorage
from gateway.testing.healthimaging.operation import Operation
from gateway.testing.healthimaging.query import QueryPlane
from gateway.testing.healthimaging.retrieval import RetrievePlane
from gateway.testing.healthimaging.runtime import RuntimePlane
from gateway.testing.healthimaging.signature import SignatureCheck
from gateway.testing.healthimaging.storing import StorePlane

_LARGEST_BODY_BYTES = 16 << 20
_BEFORE = (
    FaultKind.THROTTLED,
    FaultKind.FAILED,
    FaultKind.UNAVAILABLE,
    FaultKind.CONFLICT,
    FaultKind.DENIED,
    FaultKind.QUOTA,
)
_AFTER = (FaultKind.SLOW, FaultKind.TRUNCATED, FaultKind.CUT, FaultKind.LATE_CUT)


def application(
    account: Account, check: SignatureCheck, storage: ObjectStorage | None
) -> web.Application:
    """Return the application of one account, to be run in one event loop.

    Import jobs read and write in ``storage``; it ends those that run when it ends itself.
    """
    admission = Admission(account, check)
    app = web.Application(client_max_size=_LARGEST_BODY_BYTES)
    jobs = ImportJobs(account, storage)
    planes = (
        ControlPlane(account),
        ImportPlane(account, jobs),
        RuntimePlane(account),
        ChangePlane(account),
        StorePlane(account, admission),
        QueryPlane(account),
        RetrievePlane(account),
    )
    for plane in planes:
        for operation in plane.operations:
            guard = _Guard(account, admission, operation)
            app.router.add_route(operation.method, operation.path, guard.answer)

    async def end(_: web.Application) -> None:
        await jobs.close()
        account.worker.shutdown(wait=False, cancel_futures=True)

    app.on_cleanup.append(end)
    return app


class _Guard:
    """Stands before an operation: signature, faults, and errors as answers."""

    def __init__(self, account: Account, admission: Admission, operation: Operation) -> None:
        self._account = account
        self._admission = admission
        self._operation = operation

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for the operation."""
        self._account.faults.count(self._operation.name)
        try:
            response = await self._handled(request)
        except ServiceError as error:
            response = error_answer(error)
        fault = await self._take(request, _AFTER)
        return response if fault is None else await _spoilt(request, response, fault)

    async def _handled(self, request: web.Request) -> web.Response:
        if not self._operation.is_streamed:
            await self._admission.admit(request)
        fault = await self._take(request, _BEFORE)
        if fault is not None and (error := fault.error()) is not None:
            raise error
        return await self._operation.handler(request)

    async def _take(self, request: web.Request, kinds: Iterable[FaultKind]) -> Fault | None:
        targets = list(request.match_info.values())
        if not self._operation.is_streamed:
            targets += _texts(await request.read())
        return self._account.faults.take(self._operation.name, targets, kinds)


def _texts(content: bytes) -> list[str]:
    """Return the texts of a JSON object, where a body is one."""
    try:
        body = json.loads(content)
    except ValueError:
        return []
    return [one for one in body.values() if isinstance(one, str)] if isinstance(body, dict) else []


async def _spoilt(request: web.Request, response: web.Response, fault: Fault) -> web.StreamResponse:
    """Send an answer as a fault has it."""
    body = bytes(response.body) if isinstance(response.body, bytes | bytearray) else b""
    if fault.kind is FaultKind.SLOW:
        await asyncio.sleep(fault.seconds)
        return response
    if fault.kind is FaultKind.TRUNCATED:
        response.body = body[: len(body) // 2]
        return response
    if fault.kind is FaultKind.CUT:
        await _half_sent(request, response, body)
    if request.transport is not None:
        request.transport.abort()
    return response


async def _half_sent(request: web.Request, response: web.Response, body: bytes) -> None:
    """Send an answer's head and half of the body that it announces."""
    cut = web.StreamResponse(status=response.status, headers=response.headers)
    cut.content_length = len(body)
    await cut.prepare(request)
    await cut.write(body[: len(body) // 2])
