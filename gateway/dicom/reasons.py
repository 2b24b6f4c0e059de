"""Why a series is not taken as input of a model: one word for each reason."""

from collections.abc import Iterable
from enum import StrEnum

_NAMED = 3


class GeometryReason(StrEnum):
    """Why the slices of a series are not taken as one volume."""

    NO_GEOMETRY = "no-geometry"  #: position, orientation, pixel spacing or matrix is missing
    INVALID_GEOMETRY = "invalid-geometry"  #: such a value is there, but no plane has it
    ENHANCED_MULTI_FRAME = "enhanced-multi-frame"  #: many frames, and no word where each lies
    SINGLE_SLICE = "single-slice"  #: one slice has no slice spacing
    TOO_FEW_SLICES = "too-few-slices"  #: two slices cannot show whether the spacing is regular
    MIXED_ORIENTATION = "mixed-orientation"  #: slices are not parallel, as in a localizer
    MIXED_MATRIX = "mixed-matrix"  #: rows, columns or pixel spacing differ between slices
    MIXED_FRAME_OF_REFERENCE = "mixed-frame-of-reference"  #: positions do not compare
    DUPLICATE_INSTANCE = "duplicate-instance"  #: one SOP Instance UID names different images
    DUPLICATE_POSITION = "duplicate-position"  #: several slices lie in one plane
    MULTI_PHASE = "multi-phase"  #: several slices lie in each plane, and an attribute parts them
    NOT_SPLIT = "not-split"  #: the attribute to split by is missing in a part of the slices
    SEVERAL_STACKS = "several-stacks"  #: no stack of slices is larger than every other
    ONLY_LOCALIZERS = "only-localizers"  #: all images are localizers
    GANTRY_TILT = "gantry-tilt"  #: slices are not stacked along their normal
    MISSING_SLICE = "missing-slice"  #: a distance is a whole multiple of the spacing
    IRREGULAR_SPACING = "irregular-spacing"  #: the distances between slices vary
    OTHER_GRID = "other-grid"  #: an input's voxels do not lie on those of the first one
    OTHER_FRAME_OF_REFERENCE = "other-frame-of-reference"  #: inputs' positions do not compare
    SHIFTED_SLICE = "shifted-slice"  #: a slice is moved sideways out of the stack


class InputReason(StrEnum):
    """Why the images of a series, or their values, are not what a model takes."""

    NO_IMAGE = "no-image"  #: an object that has no pixels
    SEVERAL_SERIES = "several-series"  #: one series is segmented at a time
    SEVERAL_VOLUMES = "several-volumes"  #: the series was split where one volume was asked for
    MODALITY = "modality"  #: the model takes series of other modalities
    TOO_FEW_SLICES = "too-few-slices"  #: the model needs more to see enough
    COLOUR = "colour"  #: more than one sample per pixel, or a palette
    MODALITY_LUT = "modality-lut"  #: values come from a table instead of slope and intercept
    INVALID_RESCALE = "invalid-rescale"  #: slope or intercept is no finite number
    NO_RESCALE = "no-rescale"  #: CT that does not say how stored values become Hounsfield units
    RESCALE_TYPE = "rescale-type"  #: CT whose rescaled values are something else, as in dual energy
    UNREADABLE_PIXELS = "unreadable-pixels"  #: no decoder reads the pixel data
    SUV_NOT_PET = "suv-not-pet"  #: uptake values exist of single-frame PET images only
    SUV_UNITS = "suv-units"  #: from these units no uptake value by body weight follows
    SUV_NOT_CORRECTED = "suv-not-corrected"  #: not corrected for decay or attenuation
    SUV_INCOMPLETE = "suv-incomplete"  #: weight, dose, half-life or a time is missing
    SUV_IMPLAUSIBLE = "suv-implausible"  #: such a value is there, and cannot be true


def named(instances: Iterable[str]) -> str:
    """Name the instances that show what is wrong, the first of them where there are many."""
    uids = list(dict.fromkeys(uid for uid in instances if uid))
    if not uids:
        return ""
    more = f" and {len(uids) - _NAMED} more" if len(uids) > _NAMED else ""
    return f" (instance{'s' if len(uids) > 1 else ''} {', '.join(uids[:_NAMED])}{more})"
