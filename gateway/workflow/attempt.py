"""How one attempt at a job ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.store import JobState


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """The state that an attempt leaves its job in, with what it gave."""

    state: JobState
    error: str = ""
    results: tuple[str, ...] = ()
    """SOP Instance UIDs made here, or confirmed by the node."""
    segments: tuple[dict[str, Any], ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    waits_until: float | None = None
    """Until when a job waits for series of its study, in seconds since 1970; none where it waits
    for its next attempt, or not at all."""
    waits_beyond: int | None = None
    """How many revisions of series its study had; one more may be what it waits for."""
