"""Letting requests in: the signature over their head, and over their body as it comes."""

import hashlib
from collections.abc import AsyncIterator

from aiohttp import web

from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.errors import TooLargeError
from gateway.testing.healthimaging.signature import (
    SignatureCheck,
    SignedRequest,
    claimed_payload,
    require_payload,
)


class Admission:
    """Tells who may call; a fresh check for each request, since the clock goes on."""

    def __init__(self, account: Account, check: SignatureCheck) -> None:
        self._account = account
        self._check = check

    async def admit(self, request: web.Request) -> None:
        """Let a request pass whose body is read whole.

        Raises:
            AccessDeniedError: it is not signed as it should be.
        """
        await self.read(request, await request.read())

    async def read(self, request: web.Request, content: bytes) -> None:
        """Check a request whose body is here."""
        digest = hashlib.sha256(content).hexdigest()
        if self._account.behaviour.checks_signatures:
            claimed = claimed_payload(_headers(request))
            self._require(request, claimed or digest)
            if claimed is not None:
                require_payload(claimed, digest)

    async def stream(self, request: web.Request, longest_bytes: int) -> AsyncIterator[bytes]:
        """Give the body of a request as it comes, and check it before its end is told.

        Raises:
            AccessDeniedError: it is not signed as it should be.
            TooLargeError: it is longer than may be.
        """
        is_checked = self._account.behaviour.checks_signatures
        claimed = claimed_payload(_headers(request)) if is_checked else None
        if claimed is not None:
            self._require(request, claimed)
        length, digest = 0, hashlib.sha256()
        if (request.content_length or 0) > longest_bytes:
            raise _too_large(longest_bytes)
        async for content in request.content.iter_any():
            length += len(content)
            if length > longest_bytes:
                raise _too_large(longest_bytes)
            digest.update(content)
            yield content
        if claimed is not None:
            require_payload(claimed, digest.hexdigest())
        elif is_checked:
            self._require(request, digest.hexdigest())

    def _require(self, request: web.Request, payload: str) -> None:
        signed = SignedRequest(
            method=request.method,
            target=request.raw_path,
            headers=_headers(request),
            payload=payload,
        )
        self._check.require(signed, self._account.now())


def _headers(request: web.Request) -> dict[str, str]:
    """Return the header by names in lower case; what comes twice is joined by commas."""
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined


def _too_large(longest_bytes: int) -> TooLargeError:
    return TooLargeError(f"a store request has {longest_bytes} bytes at most")
