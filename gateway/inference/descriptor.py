"""A model's deployment descriptor, models/NAME.yaml: what the bundle's own metadata cannot say.

Segments have the shape of dcmqi's segment attributes, so that entries can be taken over from its
editor and its tables.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_pascal

from gateway.errors import ConfigurationInvalid, Problem
from gateway.inference.host_requirements import HostRequirements
from gateway.inference.input_requirements import InputRequirements
from gateway.inference.series_input import MOST_INPUTS, Grid, SeriesInput
from gateway.positions import load_yaml, problems


def _codeable(scheme: str) -> str:
    if scheme in {"SRT", "SNM3", "99SDM"}:
        raise ValueError(f"{scheme} codes are retired; give the SNOMED CT code with scheme SCT")
    return scheme


# ASCII, because the result takes the character set of the series, whatever that is.
ShortString = Annotated[str, StringConstraints(pattern=r"^[ -\[\]-~]{1,16}$")]
LongString = Annotated[str, StringConstraints(pattern=r"^[ -\[\]-~]{1,64}$")]
ShortText = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,1024}$")]
CodeString = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_ ]{1,16}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
ColourValue = Annotated[int, Field(ge=0, le=255)]


_LATER_KEYS = (
    *("nothing_found", "capture_images", "prediction", "input", "host"),
    *("inputs", "inputs_within_seconds", "grid"),
)
"""Keys that came after the first models were deployed; a result's UIDs name its descriptor."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CodedConcept(_Value):
    """A code with its scheme and meaning (PS3.3 section 8.8)."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_pascal)

    code_value: ShortString
    coding_scheme_designator: Annotated[ShortString, AfterValidator(_codeable)]
    code_meaning: LongString


class AlgorithmType(StrEnum):
    """How a segment was made (PS3.3 table C.8.20-4, Segment Algorithm Type)."""

    AUTOMATIC = "AUTOMATIC"
    SEMIAUTOMATIC = "SEMIAUTOMATIC"


class SegmentAttributes(_Value):
    """One label value of the model and the segment that it becomes, as dcmqi writes it."""

    label_id: int = Field(alias="labelID", ge=1, le=65535)
    label: LongString = Field(alias="SegmentLabel")
    description: ShortText | None = Field(default=None, alias="SegmentDescription")
    algorithm_type: AlgorithmType = Field(
        default=AlgorithmType.AUTOMATIC, alias="SegmentAlgorithmType"
    )
    category: CodedConcept = Field(alias="SegmentedPropertyCategoryCodeSequence")
    property_type: CodedConcept = Field(alias="SegmentedPropertyTypeCodeSequence")
    property_type_modifier: CodedConcept | None = Field(
        default=None, alias="SegmentedPropertyTypeModifierCodeSequence"
    )
    anatomic_region: CodedConcept | None = Field(default=None, alias="AnatomicRegionSequence")
    colour_rgb: tuple[ColourValue, ColourValue, ColourValue] = Field(
        alias="recommendedDisplayRGBValue"
    )


class Output(StrEnum):
    """A kind of result object."""

    SEG = "seg"  #: Segmentation Storage, one binary segment per label
    LABELMAP = "labelmap"  #: Label Map Segmentation Storage, one number per voxel
    FRACTIONAL = "fractional"  #: Segmentation Storage, a probability per voxel and segment
    SR = "sr"  #: Comprehensive 3D SR Storage, TID 1500 with what was measured
    SC = "sc"  #: Secondary Capture Image Storage, slices with the outlines burned in
    RTSTRUCT = "rtstruct"  #: RT Structure Set Storage, closed contours on the slices


class NothingFound(StrEnum):
    """What a series gives in which the model found no segment at all."""

    OUTPUTS = "outputs"  #: all outputs, empty: a SEG with one frame without voxels
    REPORT = "report"  #: only an SR that says what was looked for and not found
    NOTHING = "nothing"  #: no object


class Prediction(StrEnum):
    """What the bundle's postprocessing leaves."""

    LABELS = "labels"  #: one label per voxel
    PROBABILITIES = "probabilities"  #: a channel from 0 to 1 for each label


class GpuMemory(StrEnum):
    """How much memory of a GPU the model needs at its largest input."""

    SMALL = "small"  #: up to 8 GB
    MEDIUM = "medium"  #: up to 24 GB
    LARGE = "large"  #: up to 80 GB


class Descriptor(_Value):
    """The content of models/NAME.yaml."""

    bundle_digest: Digest
    """SHA-256 over the bundle's files; a bundle that differs is not loaded."""
    input_key: str = Field(default="image", min_length=1)
    """The key under which the bundle's transforms expect the image."""
    output_key: str = Field(default="pred", min_length=1)
    """The key under which the bundle's postprocessing leaves the label map."""
    modality: tuple[CodeString, ...] = Field(min_length=1)
    """Modalities of the series that the model takes; others are refused."""
    host: HostRequirements = HostRequirements()
    """How the model's process runs the bundle."""
    input: InputRequirements = InputRequirements()
    """How a series becomes the volume that the model takes."""
    inputs: tuple[SeriesInput, ...] = Field(default=(), max_length=MOST_INPUTS)
    """The series of a study that the model takes, of which results lie on the first one's grid;
    none for a model of one series, whatever that is."""
    inputs_within_seconds: float = Field(default=900, gt=0, le=604_800)
    """How long a job waits for those of its inputs that are not complete yet."""
    grid: Grid = Grid.SAME
    """Whether all inputs must lie on the grid of the first one."""
    minimum_slices: int = Field(default=3, ge=3)
    """The fewest slices that give the model enough to see; three are the least of any volume."""
    segments: tuple[SegmentAttributes, ...] = Field(min_length=1, max_length=255)
    series_description: LongString
    """Series Description (0008,103E) of the result."""
    content_label: CodeString = "SEGMENTATION"
    """Content Label (0070,0080) of the result."""
    series_number_offset: int = Field(default=10_000, ge=1, le=1_000_000)
    """Added to the source's Series Number, so that series 3 becomes 10003 beside its source."""
    outputs: tuple[Output, ...] = Field(default=(Output.SEG,), min_length=1)
    """Kinds of result objects; a node gets those that its settings let it have."""
    nothing_found: NothingFound = NothingFound.OUTPUTS
    """What is made where no segment has a voxel."""
    capture_images: int = Field(default=30, ge=1, le=2000)
    """Most images of a secondary capture, spread evenly over the slices that show a segment."""
    prediction: Prediction = Prediction.LABELS
    """What stands under the output key; ``fractional`` needs probabilities."""
    gpu_memory: GpuMemory = GpuMemory.SMALL
    time_limit_seconds: float = Field(gt=0, le=86_400)
    """Longer than this is a failure: the model's process is ended."""

    @model_validator(mode="after")
    def _labels_are_unique(self) -> Self:
        ids = [segment.label_id for segment in self.segments]
        repeated = sorted({number for number in ids if ids.count(number) > 1})
        if repeated:
            raise ValueError(f"labelID {repeated[0]} is given to more than one segment")
        return self

    @model_validator(mode="after")
    def _inputs_have_names_of_their_own(self) -> Self:
        names = [one.name for one in self.inputs]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"the name {repeated} is given to more than one of `inputs`")
        return self

    @model_validator(mode="after")
    def _fractions_come_from_probabilities(self) -> Self:
        if Output.FRACTIONAL in self.outputs and self.prediction is not Prediction.PROBABILITIES:
            raise ValueError("the output fractional needs `prediction: probabilities`")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, serialized: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later keys where they change nothing, so that digests stay as they were."""
        content: dict[str, Any] = serialized(self)
        for name in _LATER_KEYS:
            if getattr(self, name) == type(self).model_fields[name].get_default():
                content.pop(name)
        return content

    @property
    def input_keys(self) -> tuple[str, ...]:
        """The key under which the bundle expects each of its inputs, in their order."""
        return tuple(one.key or self.input_key for one in self.inputs) or (self.input_key,)

    @property
    def segments_by_label(self) -> tuple[SegmentAttributes, ...]:
        """The segments in the order of their label values, which is that of segment numbers."""
        return tuple(sorted(self.segments, key=lambda segment: segment.label_id))


def load_descriptor(path: Path) -> Descriptor:
    """Read a descriptor; raises ConfigurationInvalid with every problem and its position."""
    documents = load_yaml(path)
    if len(documents) != 1:
        message = f"a descriptor is one document, and this file holds {len(documents)}"
        raise ConfigurationInvalid([Problem(path, 1, 1, message)])
    _leave_conditions_as_written(documents[0].data, load_yaml(path, as_written=True)[0].data)
    try:
        return Descriptor.model_validate(documents[0].data)
    except ValidationError as error:
        found = problems(path, documents[0], error, model=Descriptor)
        raise ConfigurationInvalid(found) from error


def _leave_conditions_as_written(data: Any, written: Any) -> None:
    """Put the words of conditions back, whose meaning depends on the attribute they test."""
    inputs = data.get("inputs") if isinstance(data, dict) else None
    for number, one in enumerate(inputs if isinstance(inputs, list) else ()):
        if isinstance(one, dict) and "when" in one:
            one["when"] = written["inputs"][number]["when"]
