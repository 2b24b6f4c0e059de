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
    warning: str = ""
    """What a person should know although the job is done."""
    results: tuple[str, ...] = ()
    """SOP Instance UIDs made here, or confirmed by the node."""
    segments: tuple[dict[str, Any], ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    waits_until: float | None = None
    """Until when a job waits for series of its study, in seconds since 1970; none where it waits
    for its next attempt, or not at all."""
    waits_beyond: int | None = None
    """How many revisions of series its study had; one more may be what it waits for."""
    again_in_seconds: float | None = None
    """When to look again, where a job only waits for what others do for it: it leaves its queue
    until then, and this was no attempt that failed."""

    @property
    def leaves_queue(self) -> bool:
        """Whether somebody else starts the job again."""
        return self.waits_until is not None or self.again_in_seconds is not None
