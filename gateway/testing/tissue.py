"""Parts of an anatomy: solids made of one tissue."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gateway.testing.shapes import Coordinates, Mask, Solid, Vector


class Tissue(IntEnum):
    """What a point belongs to; the label values of the model ``ct_tissue``."""

    BACKGROUND = 0
    """Air around the patient, couch, clothes, and the metal of implants."""
    LUNG_AND_AIR = 1
    """Lung, airways and gas inside the body."""
    SOFT_TISSUE = 2
    """Every other part of the body, blood vessels with contrast medium included."""
    BONE = 3
    """Bone with its marrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A solid made of one tissue; a later part of an anatomy replaces the earlier ones.

    ``lower`` and ``upper``, in mm, cut the solid, as the level of a fluid cuts a bubble of gas.
    """

    solid: Solid
    tissue: Tissue
    hounsfield: float
    lower: Vector = (-np.inf, -np.inf, -np.inf)
    upper: Vector = (np.inf, np.inf, np.inf)

    def box(self) -> tuple[Coordinates, Coordinates]:
        """Return the lower and upper corner, in mm, of what is left of the solid."""
        low, high = self.solid.bounds
        return np.maximum(low, self.lower), np.minimum(high, self.upper)

    def covers(self, x: Coordinates, y: Coordinates, z: Coordinates) -> Mask:
        """Return which points the part covers, for coordinates that broadcast."""
        mask = self.solid.inside(x, y, z)
        for values, low, high in zip((x, y, z), self.lower, self.upper, strict=True):
            if np.isfinite(low) or np.isfinite(high):
                mask = mask & ((values >= low) & (values <= high))
        return mask


def air(solid: Solid, hounsfield: float) -> Part:
    """Return a part of lung or gas."""
    return Part(solid=solid, tissue=Tissue.LUNG_AND_AIR, hounsfield=float(hounsfield))


def soft(solid: Solid, hounsfield: float) -> Part:
    """Return a part of soft tissue."""
    return Part(solid=solid, tissue=Tissue.SOFT_TISSUE, hounsfield=float(hounsfield))


def bone(solid: Solid, hounsfield: float) -> Part:
    """Return a part of bone, cortex or marrow."""
    return Part(solid=solid, tissue=Tissue.BONE, hounsfield=float(hounsfield))
