"""When a request is made again: pauses of full jitter, and one brake for all that are throttled."""

import asyncio
import random
import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """Pauses before a request is repeated, and when it is given up.

    A pause is anywhere between nothing and a bound that doubles (AWS Architecture Blog,
    "Exponential Backoff And Jitter"): so clients that were refused together do not return so.
    """

    first_seconds: float = 0.2
    """Bound of the first pause."""
    longest_seconds: float = 10.0
    """Bound that later pauses do not exceed."""
    give_up_seconds: float = 60.0
    """Time from the first attempt on after which there is no other."""

    def pause_seconds(self, attempt: int, asked_seconds: float = 0.0) -> float:
        """Return the pause after attempt number ``attempt`` (from 1).

        ``asked_seconds`` is what the service asks for (Retry-After), and is not undercut.
        """
        bound = min(self.first_seconds * 2.0 ** min(attempt - 1, 32), self.longest_seconds)
        return asked_seconds + random.uniform(0, bound)  # noqa: S311


NO_RETRIES = Retries(give_up_seconds=0)
"""For a request that may have had its effect although its answer is lost."""


class Brake:
    """Holds back all requests of a session while the service asks for fewer."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def pull(self, seconds: float) -> None:
        """Let nothing pass for a time from now on."""
        self._free_at = max(self._free_at, time.monotonic() + seconds)

    async def passed(self) -> None:
        """Return when requests may be made."""
        while (wait := self._free_at - time.monotonic()) > 0:
            await asyncio.sleep(wait * random.uniform(1.0, 1.25))  # noqa: S311
