"""What became of each instance that was sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Outcome(StrEnum):
    """What a data store answered for one instance."""

    STORED = "stored"
    """It has it."""
    FAILED = "failed"
    """It could not, for a reason of its own: worth another attempt."""
    REFUSED = "refused"
    """It will not take it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceOutcome:
    """What became of one instance."""

    outcome: Outcome
    detail: str = ""
    """The reason, or the warning of one that is stored."""
    image_set_id: str = ""
    """The image set that it is said to be in, where that was said."""

    def noted(self) -> dict[str, Any]:
        """Return it as the index keeps it."""
        values = {
            "outcome": str(self.outcome),
            "detail": self.detail,
            "image_set_id": self.image_set_id,
        }
        return {name: value for name, value in values.items() if value}

    @classmethod
    def read(cls, noted: Mapping[str, Any]) -> Self:
        """Return it from what the index kept."""
        return cls(**{**noted, "outcome": Outcome(noted["outcome"])})


WARNINGS: Mapping[int, str] = {
    0xB000: "values were coerced",
    0xB006: "elements were discarded",
    0xB007: "the data set does not match its SOP class",
    0xB100: "the frames could not be transcoded and are kept as they came",
    0xB110: "the frames could not be taken apart; only the whole instance can be read",
    0xB111: "the number of frames is not what the header says; only the whole instance can be read",
    0xB112: "the offset table is not that of the frames; only the whole instance can be read",
    0xB120: "the transfer syntax is not supported; the pixel data is kept as it came",
    0xB201: "a UID is malformed",
    0xB202: "a value is too long and may not be searchable",
    0xBFFF: "only the whole instance can be read",
}
"""Reasons of warnings (AWS HealthImaging, "Import job warnings"), as (0008,1196) has them."""


def warning(code: int) -> str:
    """Return a warning in words, with its code."""
    return f"{code:04X}H {WARNINGS.get(code, 'a warning that is not documented')}"
