"""A MONAI bundle loaded for volumes that are in memory: its own transforms, network and inferer.

What is computed is what ``python -m monai.bundle run`` computes with the bundle's inference
configuration, voxel for voxel, but for reading and writing files.
"""

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from monai.bundle import ConfigComponent, ConfigWorkflow
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, EnsureChannelFirst
from monai.utils import MetaKeys, SpaceKeys

_FILE_TRANSFORMS = ("LoadImage", "SaveImage")
_CHECKPOINT_KEYS = ("model", "state_dict")


class BundleUnsupported(Exception):
    """A bundle needs something that running it in memory does not offer."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labelled:
    """A label map (slices, rows, columns) in uint8 or uint16, and what each stage took."""

    label_map: npt.NDArray[Any]
    timings_ms: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedBundle:
    """The parts of a bundle that label one volume, with weights on ``device``."""

    device: torch.device
    network: torch.nn.Module
    inferer: Any
    preprocessing: Compose
    postprocessing: Compose
    loader_adds_channel: bool
    amp: dict[str, Any] | None
    input_key: str
    output_key: str

    @classmethod
    def load(
        cls,
        *,
        root: str,
        config_file: str,
        metadata_file: str,
        input_key: str,
        output_key: str,
        device: str | None,
    ) -> Self:
        """Read the configuration through MONAI's ConfigWorkflow and the weights without pickle.

        ``device`` overrides the bundle's own choice, which takes a GPU when there is one.
        Raises BundleUnsupported, and whatever the bundle's code raises.
        """
        sys.path.insert(0, root)  # a bundle imports its own package "scripts"
        override = {"bundle_root": root} | (
            {"device": f"$torch.device('{device}')"} if device else {}
        )
        workflow = ConfigWorkflow(
            config_file=config_file,
            meta_file=metadata_file,
            logging_file=False,
            workflow_type="inference",
            **override,
        )
        workflow.initialize()
        _require_plain_evaluator(workflow)
        network = workflow.network_def.to(workflow.device)
        network.load_state_dict(_weights(workflow, Path(root)))
        network.eval()
        loaders, preprocessing = _split(workflow.preprocessing)
        return cls(
            device=workflow.device,
            network=network,
            inferer=workflow.inferer,
            preprocessing=preprocessing,
            postprocessing=_split(workflow.postprocessing)[1],
            loader_adds_channel=any(_adds_channel(loader) for loader in loaders),
            amp=_amp(workflow),
            input_key=input_key,
            output_key=output_key,
        )

    def label(
        self, array: npt.NDArray[np.float32], affine_ras: Sequence[Sequence[float]]
    ) -> Labelled:
        """Label a volume (slices, rows, columns), whose affine takes (column, row, slice) to RAS.

        Raises BundleUnsupported when what comes out is no label map on the same grid.
        """
        started = time.perf_counter()
        image = _as_loaded(array, affine_ras)
        if self.loader_adds_channel:
            image = EnsureChannelFirst()(image)
        item = self.preprocessing({self.input_key: image})
        preprocessed = time.perf_counter()
        batch = list_data_collate([item])
        inputs = batch[self.input_key].to(self.device)
        outputs = {self.input_key: inputs, self.output_key: self._infer(inputs)}
        inferred = time.perf_counter()
        [result] = decollate_batch({**batch, **outputs})
        labels = self.postprocessing(result)[self.output_key]
        label_map = _label_map(labels, array.shape)
        finished = time.perf_counter()
        timings_ms = {
            "preprocess": (preprocessed - started) * 1000,
            "infer": (inferred - preprocessed) * 1000,
            "postprocess": (finished - inferred) * 1000,
        }
        return Labelled(label_map=label_map, timings_ms=timings_ms)

    def _infer(self, inputs: torch.Tensor) -> Any:
        on_gpu = self.amp is not None and self.device.type == "cuda"
        precision = (
            torch.autocast("cuda", **(self.amp or {})) if on_gpu else contextlib.nullcontext()
        )
        with torch.no_grad(), precision:
            prediction = self.inferer(inputs, self.network)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # for honest timings
        return prediction


def _as_loaded(array: npt.NDArray[np.float32], affine_ras: Sequence[Sequence[float]]) -> MetaTensor:
    """Make what LoadImage makes of a NIfTI file with this content."""
    # A NIfTI header holds the affine in single precision.
    affine = np.asarray(affine_ras, dtype=np.float32).astype(np.float64)
    image = array.transpose(2, 1, 0)
    meta = {
        MetaKeys.AFFINE: affine,
        MetaKeys.ORIGINAL_AFFINE: affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.asarray(image.shape),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
    }
    return MetaTensor.ensure_torch_and_prune_meta(image, meta)


def _label_map(labels: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    values = torch.as_tensor(labels).detach().cpu().numpy()
    if values.ndim != 4 or values.shape[0] != 1:
        raise BundleUnsupported(f"the output has the shape {values.shape} instead of one channel")
    values = values[0].transpose(2, 1, 0)
    if values.shape != shape:
        raise BundleUnsupported(
            f"the output has {values.shape} voxels where the source has {shape}; "
            "the postprocessing must invert the preprocessing"
        )
    highest = values.max(initial=0)
    if values.min(initial=0) < 0 or not highest <= np.iinfo(np.uint16).max:
        raise BundleUnsupported("the output holds values that are no labels")
    label_map = np.ascontiguousarray(values, dtype=np.uint8 if highest <= 255 else np.uint16)
    if not np.array_equal(label_map, values):
        raise BundleUnsupported("the output holds fractions; the postprocessing must discretise")
    return label_map


def _split(transforms: Any) -> tuple[list[Any], Compose]:
    """Part a chain of transforms into those that touch files and the others, in order."""
    every = transforms.flatten().transforms if isinstance(transforms, Compose) else [transforms]
    on_files = [t for t in every if type(t).__name__.startswith(_FILE_TRANSFORMS)]
    return on_files, Compose([t for t in every if t is not None and t not in on_files])


def _adds_channel(loader: Any) -> bool:
    return bool(getattr(getattr(loader, "_loader", loader), "ensure_channel_first", False))


def _require_plain_evaluator(workflow: ConfigWorkflow) -> None:
    target = str(workflow.parser.get("evaluator", {}).get("_target_", ""))
    if target.rpartition(".")[2] != "SupervisedEvaluator":
        raise BundleUnsupported(
            f"the bundle's evaluator is {target or 'missing'}; only SupervisedEvaluator is run"
        )


def _amp(workflow: ConfigWorkflow) -> dict[str, Any] | None:
    """Return the evaluator's arguments for autocast, or None when it runs in full precision."""
    evaluator = workflow.parser.get("evaluator")
    if not evaluator.get("amp") or not workflow.parser.get_parsed_content("evaluator::amp"):
        return None
    if not evaluator.get("amp_kwargs"):
        return {}
    return dict(workflow.parser.get_parsed_content("evaluator::amp_kwargs"))


def _weights(workflow: ConfigWorkflow, root: Path) -> dict[str, torch.Tensor]:
    """Load the checkpoint that the bundle's CheckpointLoader names, or models/model.pt."""
    paths = [
        workflow.parser.get_parsed_content(f"{name}::load_path")
        for name, item in workflow.parser.ref_resolver.items.items()
        if isinstance(item, ConfigComponent)
        and str(item.get_config().get("_target_", "")).endswith("CheckpointLoader")
    ]
    path = Path(paths[0]) if paths else root / "models" / "model.pt"
    checkpoint = torch.load(path, map_location=workflow.device, weights_only=True)
    for key in _CHECKPOINT_KEYS:
        if isinstance(checkpoint.get(key), dict):
            return dict(checkpoint[key])
    return dict(checkpoint)
