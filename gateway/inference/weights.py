"""Weights of a bundle, read without running what a file may carry, whatever they are wrapped in."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader
from monai.networks.utils import copy_model_state

WRAPPERS = ("model", "state_dict", "network", "net", "model_state_dict", "network_weights")
"""Names under which training programs save a state dict within their checkpoint."""

_OF_DATA_PARALLEL = "module."


class WeightsUnreadable(Exception):
    """A file of weights is missing, is of no known form, or does not fit its network."""


class WeightsLoader(CheckpointLoader):  # type: ignore[misc]
    """MONAI's CheckpointLoader for a process that stays warm: it loads once.

    It takes the same arguments and gives a network the same weights. Beyond MONAI's, it reads
    a state dict out of other wrappings and out of TorchScript, and it takes weights that were
    saved on a GPU to a machine without one.
    """

    def __init__(self, load_path: str, load_dict: dict[str, Any], **arguments: Any) -> None:
        super().__init__(load_path, load_dict, **arguments)
        self._is_done = False

    def __call__(self, engine: Engine) -> None:
        """Load at the first call only; raises WeightsUnreadable."""
        if self._is_done:
            return
        path = weights_file(Path(self.load_path))
        networks = [one for one in self.load_dict.values() if isinstance(one, torch.nn.Module)]
        if len(self.load_dict) == 1 and networks:
            [name] = self.load_dict
            state = read_weights(path, self._where(), first=name)
            put_weights(
                networks[0], state, path, strict=self.strict, strict_shape=self.strict_shape
            )
        else:
            super().__call__(engine)
        self._is_done = True

    def _where(self) -> Any:
        return self.map_location if self.map_location is not None else "cpu"


def allow_arrays() -> None:
    """Let torch.load read NumPy arrays, which hold no code; checkpoints of a search have them."""
    # NumPy names its own helpers only within pickles.
    helpers: list[Any] = [value.__reduce__()[0] for value in (np.zeros(1), np.float64(0))]
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    torch.serialization.add_safe_globals([*helpers, np.ndarray, np.dtype, *kinds])


def weights_file(path: Path) -> Path:
    """Return the file, or its TorchScript where the bundle ships only that.

    Raises WeightsUnreadable when there is neither.
    """
    for candidate in (path, path.with_suffix(".ts"), path.with_suffix(".pt")):
        if candidate.is_file():
            return candidate
    raise WeightsUnreadable(f"the bundle has no weights {path.name}; the gateway downloads nothing")


def read_weights(path: Path, where: Any, *, first: str = WRAPPERS[0]) -> Mapping[str, torch.Tensor]:
    """Read a state dict: plain, wrapped under ``first`` or another usual name, or of TorchScript.

    ``where`` is what torch calls a map location. Nothing is unpickled but tensors and plain
    values. Raises WeightsUnreadable for a file of another form.
    """
    if _is_torch_script(path):
        # Any device will do: the values are copied into the network that is on the right one.
        module: torch.jit.ScriptModule = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        return dict(module.state_dict())
    content = torch.load(path, map_location=where, weights_only=True)
    for name in (first, *WRAPPERS):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not any(map(torch.is_tensor, content.values())):
        raise WeightsUnreadable(f"{path.name} holds no weights by name")
    return content


def put_weights(
    network: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    path: Path,
    *,
    strict: bool = True,
    strict_shape: bool = True,
) -> None:
    """Give a network its weights; a prefix of data-parallel training is taken off.

    ``strict`` and ``strict_shape`` are CheckpointLoader's. Raises WeightsUnreadable when they
    do not fit.
    """
    fitting = _without_prefix(state, list(network.state_dict()))
    if not strict_shape:
        fitting = copy_model_state(network, fitting, inplace=False)[0]
    try:
        network.load_state_dict(fitting, strict=strict and strict_shape)
    except RuntimeError as error:
        raise WeightsUnreadable(f"{path.name} does not fit the network: {error}") from error


def _without_prefix(
    state: Mapping[str, torch.Tensor], wanted: Sequence[str]
) -> Mapping[str, torch.Tensor]:
    is_prefixed = all(name.startswith(_OF_DATA_PARALLEL) for name in state)
    if not is_prefixed or all(name.startswith(_OF_DATA_PARALLEL) for name in wanted):
        return state
    return {name.removeprefix(_OF_DATA_PARALLEL): value for name, value in state.items()}


def _is_torch_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
