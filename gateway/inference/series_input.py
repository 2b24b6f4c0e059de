"""One of several series that a model takes, as its descriptor says it under the key ``inputs``."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, JsonValue

MOST_INPUTS = 8


class Choose(StrEnum):
    """Which series is the input where several of a study meet its condition."""

    ONLY = "only"  #: none: several refuse the study
    LATEST = "latest"  #: the one that was acquired last
    LARGEST = "largest"  #: the one with most instances


class Grid(StrEnum):
    """What becomes of an input that does not lie on the grid of the first one."""

    SAME = "same"  #: it is refused
    RESAMPLE = "resample"  #: it is resampled, within one frame of reference


class SeriesInput(BaseModel):
    """A series of the study, by a condition that `gateway.rules` reads and asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}$")
    """What messages call it."""
    key: str | None = Field(default=None, min_length=1)
    """Where the bundle expects it; inputs of one key are its channels, in their order."""
    when: dict[str, JsonValue]
    """The condition in the language of rules, its words as they are written in the file."""
    choose: Choose = Choose.ONLY
    """Which one it is where the condition holds for several."""
