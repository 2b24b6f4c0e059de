"""What a model's descriptor says about the process that runs its bundle, under the key ``host``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
)

SAME_LABELS = 0.9999
"""The share of voxels whose labels must be the same where numerics may differ."""

_LATER_KEYS = ("accelerate", "amp")
"""Keys that came after the first models were deployed; a result's UIDs name its descriptor."""


class ImagePath(StrEnum):
    """How the volume reaches the bundle's transforms, and the labels come back."""

    MEMORY = "memory"  #: its LoadImage reads memory, its SaveImage writes memory
    FILE = "file"  #: NIfTI files in a private folder of the main memory (tmpfs)


class Priority(StrEnum):
    """Whose turn it is when several series wait for one device; nobody waits for ever."""

    URGENT = "urgent"
    NORMAL = "normal"
    BACKGROUND = "background"


class Acceleration(StrEnum):
    """What runs the network in place of plain PyTorch, where its labels agree."""

    NONE = "none"  #: plain PyTorch
    COMPILE = "compile"  #: torch.compile, for the shape of the bundle's windows
    TENSORRT = "tensorrt"  #: TensorRT through monai.networks.trt_compile, on NVIDIA GPUs


class Amp(StrEnum):
    """The numbers of automatic mixed precision, which bundles use on GPUs."""

    BUNDLE = "bundle"  #: as the bundle's evaluator says
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"{path} is a relative path; give the interpreter's absolute one")
    return path


class HostRequirements(BaseModel):
    """How a bundle is run; the defaults suit nearly every bundle of the MONAI model zoo."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: ImagePath = ImagePath.MEMORY
    """``file`` for bundles that read and write images by transforms of their own."""
    run_key: str | None = Field(default=None, min_length=1)
    """The key of the configuration that runs it; by default the one that names its evaluator."""
    extra_inputs: dict[str, JsonValue] = Field(default_factory=dict)
    """Further items of the input beside the image, such as ``label_prompt: [1, 3]``."""
    interpreter: Annotated[Path, AfterValidator(_absolute)] | None = None
    """Python of a virtual environment that holds the versions that the bundle insists on.

    The gateway's own requirements must be installed in it, too.
    """
    cpu_fallback: bool = False
    """Whether a series too large for the GPU is computed on the CPU, which may take an hour.

    On a machine without any GPU, every model runs on the CPU.
    """
    gpu_memory_mb: int | None = Field(default=None, gt=0)
    """Memory of a GPU that one series needs at most; it replaces what the gateway predicts."""
    priority: Priority = Priority.NORMAL
    """Turn among the series that wait."""
    accelerate: Acceleration = Acceleration.NONE
    """What runs the network; where its labels differ, or it does not work, PyTorch does."""
    amp: Amp = Amp.BUNDLE
    """Another number type than the bundle's; only for bundles whose evaluator has ``amp`` on."""

    @model_serializer(mode="wrap")
    def _as_before(self, serialized: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later keys where they change nothing, so that digests stay as they were."""
        content: dict[str, Any] = serialized(self)
        for name in _LATER_KEYS:
            if getattr(self, name) == type(self).model_fields[name].get_default():
                content.pop(name)
        return content
