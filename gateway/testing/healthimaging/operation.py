"""One operation of the service: its name, and the requests that ask for it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """``name`` is what the API reference, and `Fault`, call it by."""

    name: str
    method: str
    path: str
    handler: Handler
    is_streamed: bool = False
    """Whether the handler itself admits the request, while it reads the body."""
