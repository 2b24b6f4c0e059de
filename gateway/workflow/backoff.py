"""When to try again: growing pauses with jitter, up to a limit."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Pauses that double from ``first_seconds`` to ``longest_seconds``, within limits."""

    first_seconds: float
    longest_seconds: float
    give_up_seconds: float
    most_attempts: int | None = None

    def pause_seconds(self, attempt: int, chance: float | None = None) -> float:
        """Return the pause after attempt number ``attempt`` (from 1).

        ``chance`` in [0, 1) spreads it by a quarter either way, so that a peer that comes
        back does not meet everybody at once.
        """
        spread = 0.75 + 0.5 * (random.random() if chance is None else chance)  # noqa: S311
        doubled = self.first_seconds * 2.0 ** min(attempt - 1, 32)
        return min(doubled, self.longest_seconds) * spread

    def gives_up(self, attempts: int, since_seconds: float) -> bool:
        """Return whether work that began ``since_seconds`` ago and was tried so often is over."""
        is_spent = self.most_attempts is not None and attempts >= self.most_attempts
        return is_spent or since_seconds >= self.give_up_seconds
