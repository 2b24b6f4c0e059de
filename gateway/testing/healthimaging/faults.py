"""Faults on demand: what the service does wrong, at which operation, and how often."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gateway.testing.healthimaging.errors import (
    AccessDeniedError,
    ConflictError,
    InternalError,
    QuotaExceededError,
    ServiceError,
    ThrottledError,
    UnavailableError,
)


class FaultKind(StrEnum):
    """What goes wrong."""

    THROTTLED = "throttled"  #: 429
    FAILED = "failed"  #: 500
    UNAVAILABLE = "unavailable"  #: 503
    CONFLICT = "conflict"  #: 409, as while an image set is being processed
    DENIED = "denied"  #: 403
    QUOTA = "quota"  #: 402
    WRONG_PIXELS = "wrong pixels"  #: a frame whose checksum is not that of the metadata
    TRUNCATED = "truncated"  #: the second half of the body is missing, and not announced
    SLOW = "slow"  #: the first byte of the answer comes after ``seconds``
    CUT = "cut"  #: the connection ends in the middle of the body
    LATE_CUT = "late cut"  #: the request is done, and the connection ends before the answer
    NOT_STORED = "not stored"  #: an instance fails that could have been stored


_ERRORS: dict[FaultKind, type[ServiceError]] = {
    FaultKind.THROTTLED: ThrottledError,
    FaultKind.FAILED: InternalError,
    FaultKind.UNAVAILABLE: UnavailableError,
    FaultKind.CONFLICT: ConflictError,
    FaultKind.DENIED: AccessDeniedError,
    FaultKind.QUOTA: QuotaExceededError,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing to do wrong at an operation, as GetImageFrame or StoreDICOM.

    ``times`` is for how many requests, None for all. Where ``target`` is given, only requests
    for it count: an identifier of an image set or frame, a UID, or a key in S3.
    """

    operation: str
    kind: FaultKind
    times: int | None = 1
    target: str = ""
    seconds: float = 0.0

    def error(self) -> ServiceError | None:
        """Return the error that this fault is; None where it is something else."""
        kind = _ERRORS.get(self.kind)
        return None if kind is None else kind(f"{self.kind}, as the fault book has it")


class FaultBook:
    """The faults that are still to come; any thread may ask and write."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._turn = threading.Lock()
        self._left: list[tuple[Fault, int | None]] = [(one, one.times) for one in faults]
        self._calls: Counter[str] = Counter()

    def add(self, *faults: Fault) -> None:
        """Have these come, after those that were added before."""
        with self._turn:
            self._left.extend((one, one.times) for one in faults)

    def clear(self) -> None:
        """Have nothing go wrong any more, and count requests from none."""
        with self._turn:
            self._left.clear()
            self._calls.clear()

    def count(self, operation: str) -> None:
        """Take it that an operation was asked for."""
        with self._turn:
            self._calls[operation] += 1

    def calls(self, operation: str) -> int:
        """Return how often an operation was asked for, faults included."""
        with self._turn:
            return self._calls[operation]

    def take(
        self, operation: str, targets: Iterable[str], kinds: Iterable[FaultKind]
    ) -> Fault | None:
        """Return the first fault of these kinds that is due, and count it; None without one."""
        wanted, named = frozenset(kinds), frozenset(targets)
        with self._turn:
            for index, (fault, left) in enumerate(self._left):
                is_meant = fault.operation == operation and fault.kind in wanted
                if left == 0 or not is_meant or (fault.target and fault.target not in named):
                    continue
                self._left[index] = (fault, None if left is None else left - 1)
                return fault
        return None
