"""What a model's descriptor says about the process that runs its bundle, under the key ``host``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue


class ImagePath(StrEnum):
    """How the volume reaches the bundle's transforms, and the labels come back."""

    MEMORY = "memory"  #: its LoadImage reads memory, its SaveImage writes memory
    FILE = "file"  #: NIfTI files in a private folder of the main memory (tmpfs)


class Priority(StrEnum):
    """Whose turn it is when several series wait for one device; nobody waits for ever."""

    URGENT = "urgent"
    NORMAL = "normal"
    BACKGROUND = "background"


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
