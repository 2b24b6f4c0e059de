"""A server that answers as a script says, and remembers what it was asked."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from gateway.healthimaging.data_store import DataStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Says:
    """One answer."""

    status: int = 200
    error: str = ""
    message: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False
    """Whether the connection ends in the middle of the body."""

    def response(self) -> web.Response:
        headers = dict(self.headers)
        if self.error:
            headers["x-amzn-ErrorType"] = f"{self.error}:http://internal.example/"
        body = self.body or (f'{{"message": "{self.message}"}}'.encode() if self.error else b"")
        return web.Response(status=self.status, headers=headers, body=body)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Scripted:
    """The server while it runs: its data store, and the requests it got."""

    data_store: DataStore
    asked: list[Asked]


@asynccontextmanager
async def scripted(*answers: Says) -> AsyncIterator[Scripted]:
    """Give the answers in turn, the last one again and again."""
    asked: list[Asked] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked.append(
            Asked(
                method=request.method,
                path=request.raw_path.partition("?")[0],
                query=request.query_string,
                headers=dict(request.headers),
                body=body,
            )
        )
        says = answers[min(len(asked), len(answers)) - 1]
        return await _broken(request, says) if says.breaks else says.response()

    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        port = runner.addresses[0][1]
        yield Scripted(data_store=data_store(f"http://127.0.0.1:{port}"), asked=asked)
    finally:
        await runner.cleanup()


async def _broken(request: web.Request, says: Says) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(says.body) + 1)})
    await response.prepare(request)
    await response.write(says.body)
    if request.transport is not None:
        request.transport.close()
    return response


def data_store(endpoint_url: str = "", name: str = "cloud") -> DataStore:
    return DataStore(
        name=name,
        region="us-east-1",
        datastore_id="0123456789abcdef0123456789abcdef",
        endpoint_url=endpoint_url,
    )


def errors(*statuses: int) -> Sequence[Says]:
    return [Says(status=status, error="SomeException") for status in statuses]
