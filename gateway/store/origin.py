"""Where an instance came from."""

from dataclasses import dataclass

RESULT = "result"
"""Source of what this node made itself: it is no reason to collect its series again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where an instance came from."""

    calling_ae: str
    called_ae: str
    source: str
    """Which door: ``c-store``, ``stow``, ``result`` for what a model made here, or the name of the
    source that it was pulled from."""
    association_id: str | None = None
