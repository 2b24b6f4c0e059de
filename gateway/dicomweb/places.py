"""How many requests of a kind are served at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

_LONGEST_WAIT_SECONDS = 10.0


class Places:
    """So many requests of a kind are served at once; others wait, for 10 s at most."""

    def __init__(self, number: int, kind: str) -> None:
        self._number = number
        self._kind = kind
        self._free = asyncio.Semaphore(number)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the places.

        Raises:
            web.HTTPServiceUnavailable: none became free.
        """
        try:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError as error:
            raise web.HTTPServiceUnavailable(
                text=f"{self._number} {self._kind} requests are being served already; "
                "try again later\n",
                headers={"Retry-After": "10"},
            ) from error
        try:
            yield
        finally:
            self._free.release()
