"""What an asynchronous iterator gives, for code without an event loop.

A notebook has an event loop of its own, in which nothing may wait: so the iterator runs in a
thread, goes on while its items are worked on, and waits where they are not taken.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing, contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

_T = TypeVar("_T")
_HANDED_BYTES = 8 << 20


def handed_over(
    items: AsyncGenerator[_T, None], size_bytes: Callable[[_T], int]
) -> Generator[_T, None, None]:
    """Give the items in their order, and raise what ends them.

    Besides the one that was taken last, items of about 8 MB wait to be taken, by what
    ``size_bytes`` says of each. Closing the generator closes the asynchronous one too.
    """
    with _loop_in_thread() as loop:
        handover = _Handover(loop, size_bytes)
        pumped = asyncio.run_coroutine_threadsafe(handover.pump(items), loop)
        pumped.add_done_callback(lambda _: handover.end())
        try:
            yield from handover.taken()
            pumped.result()
        finally:
            pumped.cancel()


class _Handover(Generic[_T]):
    """Items between the thread that makes them and the one that takes them.

    Each of the two numbers is written by one thread only.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, size_bytes: Callable[[_T], int]) -> None:
        self._loop = loop
        self._size_bytes = size_bytes
        self._queue: SimpleQueue[tuple[_T, int] | None] = SimpleQueue()
        self._room = asyncio.Event()
        self._is_full = False
        self._given_bytes = 0
        self._taken_bytes = 0

    async def pump(self, items: AsyncGenerator[_T, None]) -> None:
        async with aclosing(items):
            async for item in items:
                size = self._size_bytes(item)
                self._given_bytes += size
                self._queue.put((item, size))
                await self._has_room()

    def end(self) -> None:
        self._queue.put(None)

    def taken(self) -> Iterator[_T]:
        while (found := self._queue.get()) is not None:
            item, size = found
            del found
            self._taken_bytes += size
            if self._is_full:
                self._loop.call_soon_threadsafe(self._room.set)
            yield item
            del item

    async def _has_room(self) -> None:
        while self._given_bytes - self._taken_bytes > _HANDED_BYTES:
            self._room.clear()
            self._is_full = True
            # Looked at again: the other thread may not have seen that it has to say something.
            if self._given_bytes - self._taken_bytes > _HANDED_BYTES:
                await self._room.wait()
        self._is_full = False


@contextmanager
def _loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="image-set", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_ended(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _ended() -> None:
    """End all tasks of this loop but this one."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
