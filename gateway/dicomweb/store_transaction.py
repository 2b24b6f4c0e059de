"""One store request: its instances are kept beside each other while the next ones come."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait

from gateway.dicomweb.incoming import IncomingInstance
from gateway.dicomweb.multipart import Body, Parts
from gateway.dicomweb.store_response import Outcome, StoreResponse
from gateway.errors import RequestMalformed

_MOST_IN_FLIGHT = 4
_MOST_PARTS = 100_000


class StoreTransaction:
    """Reads a request's body, in whatever pieces it comes.

    Every method may wait for the disk. Threads may change between calls; one that begins while
    another runs waits for it. It ends with `close`.
    """

    def __init__(
        self,
        body: Callable[[Parts], Body],
        incoming: Callable[[], IncomingInstance],
        executor: Executor,
    ) -> None:
        """Keep what ``incoming`` makes, in threads of ``executor``."""
        self._pipeline = _Pipeline(incoming, executor)
        self._body = body(self._pipeline)
        self._problem = ""
        self._turn = threading.Lock()

    def feed(self, content: bytes) -> bool:
        """Take the next bytes; return whether those after them are wanted."""
        with self._turn:
            try:
                self._body.feed(content)
            except RequestMalformed as error:
                self._problem = str(error)
            return not self._problem

    def finish(self, problem: str = "") -> StoreResponse:
        """Return what became of each part, once all are durable or refused.

        Where the request broke off, ``problem`` says why.
        """
        with self._turn:
            self._problem = self._problem or problem
            try:
                if not self._problem:
                    self._body.finish()
            except RequestMalformed as error:
                self._problem = str(error)
            if self._problem:
                self._pipeline.break_off(RequestMalformed(self._problem))
            return StoreResponse(outcomes=self._pipeline.outcomes(), problem=self._problem)

    def close(self) -> None:
        """Leave nothing half-done."""
        with self._turn:
            self._pipeline.close()


class _Pipeline:
    """Keeps the parts of a body: an instance waits for the disk while those after it arrive."""

    def __init__(self, incoming: Callable[[], IncomingInstance], executor: Executor) -> None:
        self._incoming = incoming
        self._executor = executor
        self._current: IncomingInstance | None = None
        self._in_flight: deque[Future[Outcome]] = deque()
        self._outcomes: list[Outcome] = []

    def begin(self) -> None:
        """Take it that an instance begins.

        Raises:
            RequestMalformed: one request cannot have as many.
        """
        if len(self._outcomes) >= _MOST_PARTS:
            raise RequestMalformed(f"a request has {_MOST_PARTS} parts at most")
        self._current = self._incoming()

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the instance."""
        if self._current is not None:
            self._current.write(fragment)

    def end(self) -> None:
        """Take it that the instance is whole."""
        if self._current is not None:
            whole, self._current = self._current, None
            self._in_flight.append(self._executor.submit(whole.keep))
            self._settle(_MOST_IN_FLIGHT)

    def break_off(self, error: RequestMalformed) -> None:
        """Refuse what is not whole, and whatever should have come after it."""
        self._settle(0)
        if self._current is None:
            self._outcomes.append(Outcome(error=error))
        else:
            broken, self._current = self._current, None
            self._outcomes.append(broken.refuse(error))

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what became of each part, in their order."""
        self._settle(0)
        return tuple(self._outcomes)

    def close(self) -> None:
        """Throw away what is not whole."""
        if self._current is not None:
            broken, self._current = self._current, None
            broken.refuse(RequestMalformed("the request was given up"))
        wait(self._in_flight)

    def _settle(self, most: int) -> None:
        """Wait until no more than so many instances are on their way to the disk."""
        while len(self._in_flight) > most:
            self._outcomes.append(self._in_flight.popleft().result())
