"""The GPUs of this machine, as its driver lists them."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

_QUERY = ("nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits")
_SECONDS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A GPU, by the name that CUDA_VISIBLE_DEVICES takes, and its memory."""

    index: int
    uuid: str
    total_mb: int


def installed_gpus(environment: Mapping[str, str] | None = None) -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use; none where there is no driver.

    Those that CUDA_VISIBLE_DEVICES leaves out, by index or by UUID, are not returned.
    """
    try:
        listed = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if listed.returncode != 0:
        return ()
    visible = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    return visible_gpus(read_list(listed.stdout), visible)


def read_list(text: str) -> tuple[Gpu, ...]:
    """Read lines of index, UUID and total memory in MB, separated by commas."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and parts[0].isdigit() and parts[2].isdigit():
            found.append(Gpu(index=int(parts[0]), uuid=parts[1], total_mb=int(parts[2])))
    return tuple(found)


def visible_gpus(gpus: tuple[Gpu, ...], visible: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that a value of CUDA_VISIBLE_DEVICES names, in its order."""
    if visible is None:
        return gpus
    chosen = []
    for name in (part.strip() for part in visible.split(",")):
        # CUDA itself ignores everything from the first name on that it does not know.
        found = [gpu for gpu in gpus if name and (name == str(gpu.index) or gpu.uuid == name)]
        if not found:
            break
        chosen.append(found[0])
    return tuple(chosen)
