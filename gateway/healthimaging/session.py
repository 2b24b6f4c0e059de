"""A session with a data store: signed requests over connections that are kept open."""

import asyncio
import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from gateway.errors import GatewayError, PeerRefused
from gateway.healthimaging.data_store import DataStore
from gateway.healthimaging.refusals import Reply, refusal, unreachable
from gateway.healthimaging.retries import Brake, Retries
from gateway.healthimaging.signing import Signer

CONNECTIONS = 32
"""Requests at once: with 30 ms for a frame they reach the 1,000 a second that an account has."""
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 60.0
_KEPT_SECONDS = 30.0
_LONGEST_ASKED_SECONDS = 30.0
_READ_BYTES = 1 << 18
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

Body = bytes | Callable[[], AsyncIterator[bytes]]
"""The body of a request: bytes, or what gives them anew for each attempt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request to the service."""

    url: str
    """Its address, escaped: see `DataStore.url`."""
    subject: str
    """What it is about, in the words of an error message; no patient data."""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    """A body that is not bytes needs its Content-Length here."""
    body: Body = b""
    payload_sha256: str = ""
    """Hexadecimal SHA-256 of the body; may be left out where that is bytes."""
    accepted: Collection[int] = (200,)
    """HTTP statuses that are an answer, and no refusal."""
    confidential: Collection[str] = ()
    """What no message may repeat, as the name or number of a patient."""
    silence_seconds: float = _SILENCE_SECONDS
    """How long the service may send nothing."""
    most_bytes: int | None = None
    """Longest answer that is read; None: any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the service answered, its body as it came (not decompressed)."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Session:
    """Requests to one data store, a bounded number at once, repeated where that helps.

    To be used as an asynchronous context manager, in one event loop.
    """

    def __init__(
        self,
        data_store: DataStore,
        *,
        connections: int = CONNECTIONS,
        retries: Retries | None = None,
    ) -> None:
        self.data_store = data_store
        self._signer = Signer(data_store)
        self._retries = retries or Retries()
        self._slots = asyncio.Semaphore(connections)
        self._brake = Brake()
        self._connections = connections
        self._proxies: dict[URL, str | None] = {}
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections, keepalive_timeout=_KEPT_SECONDS, ssl=_trusted()
            ),
            auto_decompress=False,
            read_bufsize=_READ_BYTES,
            headers={"Accept-Encoding": "identity", "User-Agent": "gateway"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def answer(self, request: Request, retries: Retries | None = None) -> Answer:
        """Make a request, again while it may be answered soon, and return the whole answer.

        ``retries`` replaces those of the session; `NO_RETRIES` makes one attempt.

        Raises:
            AccessRefused, NotFound, PeerRefused: a person has to change something.
            PeerBusy, PeerUnavailable: it may be answered later than the retries last.
        """
        patience = retries or self._retries
        began = time.monotonic()
        attempt = 1
        while True:
            outcome = await self._attempt(request)
            if isinstance(outcome, Answer):
                return outcome
            pause = patience.pause_seconds(attempt, outcome.asked_seconds)
            if outcome.slows_all:
                self._brake.pull(pause)
            is_over = time.monotonic() - began + pause >= patience.give_up_seconds
            if is_over or not outcome.passes_soon:
                raise outcome.error from outcome.cause
            await asyncio.sleep(pause)
            attempt += 1

    async def _attempt(self, request: Request) -> "Answer | _Refused":
        async with self._slots:
            await self._brake.passed()
            try:
                return await self._made(request)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                address = str(URL(request.url).origin())
                lost = unreachable(error, self.data_store, address)
                return _Refused(error=lost, cause=error, passes_soon=_may_pass(error))

    async def _made(self, request: Request) -> "Answer | _Refused":
        if self._client is None:
            raise RuntimeError("the session is not open")
        headers = await self._signer.signed(
            request.method, request.url, request.headers, _digest(request)
        )
        async with self._client.request(
            request.method,
            _address(request.url),
            headers=headers,
            data=request.body if isinstance(request.body, bytes) else request.body(),
            proxy=self._proxy(request.url),
            allow_redirects=False,
            timeout=_timeout(request.silence_seconds),
        ) as response:
            body = await self._body(request, response)
            if response.status in request.accepted:
                return Answer(status=response.status, headers=response.headers, body=body)
            return self._refused(request, response, body)

    def _proxy(self, url: str) -> str | None:
        """Return the proxy that HTTPS_PROXY and NO_PROXY name for an address, asked for once."""
        host = _address(url).origin()
        if host not in self._proxies:
            is_direct = proxy_bypass(host.host or "")
            self._proxies[host] = None if is_direct else getproxies().get(host.scheme)
        return self._proxies[host]

    async def _body(self, request: Request, response: aiohttp.ClientResponse) -> bytes:
        if request.most_bytes is None:
            return await response.read()
        parts, size = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > request.most_bytes:
                raise PeerRefused(
                    f"{request.subject}: {self.data_store} answered with more than "
                    f"{request.most_bytes} bytes"
                )
        return b"".join(parts)

    def _refused(
        self, request: Request, response: aiohttp.ClientResponse, body: bytes
    ) -> "_Refused":
        reply = Reply.read(response.status, response.headers, body).without(request.confidential)
        if reply.doubts_credentials:
            self._signer.forget()
        return _Refused(
            error=refusal(reply, self.data_store, request.subject),
            passes_soon=reply.passes_soon,
            slows_all=reply.asks_to_slow_down,
            asked_seconds=_asked_seconds(response.headers),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Refused:
    """An attempt without an answer."""

    error: GatewayError
    passes_soon: bool
    cause: BaseException | None = None
    slows_all: bool = False
    asked_seconds: float = 0.0


@lru_cache(maxsize=64)
def _address(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=8)
def _timeout(silence_seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence_seconds
    )


def _digest(request: Request) -> str:
    if request.payload_sha256:
        return request.payload_sha256
    if not isinstance(request.body, bytes):
        raise TypeError("a body that is no bytes needs its payload_sha256")
    return hashlib.sha256(request.body).hexdigest() if request.body else _EMPTY_SHA256


def _may_pass(error: BaseException) -> bool:
    """Tell a broken connection from a name or a certificate that is wrong."""
    wrong = (
        aiohttp.ClientConnectorCertificateError,
        aiohttp.ClientConnectorDNSError,
        aiohttp.InvalidURL,
        ssl.SSLError,
    )
    return not isinstance(error, wrong)


def _trusted() -> ssl.SSLContext | bool:
    """Return whom to trust: the system's authorities, or those of AWS_CA_BUNDLE as AWS's SDKs.

    Hospitals that look into TLS have an authority of their own.
    """
    bundle = os.environ.get("AWS_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle) if bundle else True


def _asked_seconds(headers: Mapping[str, str]) -> float:
    """Return the pause that Retry-After asks for in seconds (RFC 9110 section 10.2.3)."""
    asked = headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_ASKED_SECONDS) if asked.isdecimal() else 0.0
