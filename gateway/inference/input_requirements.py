"""What a model's descriptor says about the series that it takes, under the key ``input``."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from gateway.dicom.frames import SplitAttribute
from gateway.dicom.geometry import POSITION_TOLERANCE
from gateway.dicom.hounsfield import HOUNSFIELD

RescaleType = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]{1,16}$")]


def _distinct(attributes: tuple[SplitAttribute, ...]) -> tuple[SplitAttribute, ...]:
    if len(set(attributes)) < len(attributes):
        raise ValueError("an attribute is given twice")
    return attributes


class Keep(StrEnum):
    """Which of the stacks of slices in one series are segmented."""

    EVERY = "every"  #: each one; slices that fit no volume refuse the series
    LARGEST = "largest"  #: the one with most slices; the others are left out


class GantryTilt(StrEnum):
    """What becomes of slices that are not stacked along their normal."""

    REFUSE = "refuse"  #: the series is refused
    SHEAR = "shear"  #: slices are moved within their planes, and the result moved back


class Suv(StrEnum):
    """A standardised uptake value that a PET model takes in place of an activity."""

    BODY_WEIGHT = "bodyweight"  #: g/ml: activity x body weight / injected dose at scan start


class MissingRescale(StrEnum):
    """What becomes of CT images that do not say how stored values become Hounsfield units."""

    REFUSE = "refuse"  #: the series is refused
    STORED = "stored"  #: their values are taken as they are stored


class InputRequirements(BaseModel):
    """How a series becomes the volume that the model takes; by default nothing is guessed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split_by: Annotated[tuple[SplitAttribute, ...], AfterValidator(_distinct)] = ()
    """Attributes that part a series of several phases into one volume for each.

    A series whose parts lie one after another, and make one regular grid together, stays whole.
    """
    keep: Keep = Keep.EVERY
    """Which stacks are segmented where slices differ in orientation, matrix or part."""
    gantry_tilt: GantryTilt = GantryTilt.REFUSE
    """Whether a tilted gantry refuses a series; a model rarely saw such a one."""
    spacing_tolerance: Annotated[float, Field(gt=0, le=0.2, strict=True)] = POSITION_TOLERANCE
    """How far a slice may lie from its place in the grid, as a part of the slice spacing."""
    missing_rescale: MissingRescale = MissingRescale.REFUSE
    """Whether CT without Rescale Slope and Intercept refuses a series; others are as stored."""
    rescale_types: Annotated[tuple[RescaleType, ...], Field(min_length=1)] = (HOUNSFIELD,)
    """Values of Rescale Type that CT may have; one that names none is in Hounsfield units."""
    suv: Suv | None = None
    """The uptake value that PET images are turned into; none leaves their own unit."""
