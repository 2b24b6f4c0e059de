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
