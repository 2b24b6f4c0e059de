"""Bundles in the forms in which the MONAI model zoo has them, with small networks and seeds."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.networks.nets import SegResNet, UNet

from gateway.inference import Model, bundle_digest, load_model
from tests.unit.inference.bundles import code

_UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3}
_UNET_SIZE = {"channels": [4, 8], "strides": [2], "num_res_units": 1}
_SEGRESNET = {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}

_SCRIPTS = {
    "__init__.py": "",
    "net.py": '''
import torch


class Small(torch.nn.Module):
    """A network of the bundle's own."""

    def __init__(self, classes):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, classes, 1)
        )

    def forward(self, image):
        scores = self.layers(image)
        return scores - scores.mean(dim=(2, 3, 4), keepdim=True)
''',
    "reader.py": '''
from monai.data import NibabelReader


class HalvingReader(NibabelReader):
    """A reader that does more than to read."""

    def get_data(self, img):
        array, meta = super().get_data(img)
        return array / 2, meta
''',
    "engine.py": '''
from monai.engines import IterationEvents, SupervisedEvaluator
from monai.utils import CommonKeys


class PromptedEvaluator(SupervisedEvaluator):
    """Leaves out all classes that its prompt does not name, as interactive bundles do."""

    def _iteration(self, engine, batchdata):
        image = batchdata[CommonKeys.IMAGE].to(engine.state.device)
        wanted = [int(one) for one in batchdata["label_prompt"]]
        with engine.mode(engine.network):
            scores = engine.inferer(image, engine.network)
        for channel in range(1, scores.shape[1]):
            if channel not in wanted:
                scores[:, channel] = -1e3
        engine.state.output = {CommonKeys.IMAGE: image, CommonKeys.PRED: scores}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output
''',
}


def keyed(target: str, key: str = "image", **arguments: Any) -> dict[str, Any]:
    return {"_target_": target, "keys": key, **arguments}


def invert(**arguments: Any) -> dict[str, Any]:
    named = {"transform": "@preprocessing", "orig_keys": "image"}
    return keyed("Invertd", "pred", **named, **arguments)


def save(**arguments: Any) -> dict[str, Any]:
    return keyed("SaveImaged", "pred", output_dir="@output_dir", **arguments)


SOFTMAX = keyed("Activationsd", "pred", softmax=True)
_ARGMAX = keyed("AsDiscreted", "pred", argmax=True)
_RESAMPLING = (
    keyed("EnsureChannelFirstd"),
    keyed("Orientationd", axcodes="RAS", labels=None),
    keyed("Spacingd", pixdim=[4.0, 4.0, 6.0], mode="bilinear"),
    keyed("ScaleIntensityRanged", a_min=-500, a_max=500, b_min=0, b_max=1, clip=True),
)


PHASES = ("artery", "vein", "excret")


def taking(*inputs: tuple[str, str], **more: Any) -> dict[str, Any]:
    """What a descriptor says of series in MR that are told apart by their descriptions."""
    names = [
        {"name": name, "key": key, "when": {"SeriesDescription": name}} for name, key in inputs
    ]
    return {"inputs": names, "modality": ["CT", "MR"], **more}


def _on_phases(target: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": target, "keys": list(PHASES), **arguments}


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One way to write a bundle."""

    network: dict[str, Any]
    module: Callable[[], torch.nn.Module] | None
    """Makes the network whose weights are saved; the bundle's own where it is None."""
    before: Sequence[dict[str, Any]] = (keyed("LoadImaged"), *_RESAMPLING)
    after: Sequence[dict[str, Any]] = (SOFTMAX, invert(), _ARGMAX, save(output_dtype="uint8"))
    yaml: bool = False
    wrap: Callable[[dict[str, Any]], Any] = field(default=lambda state: state)
    run_key: str = "run"
    changes: dict[str, Any] = field(default_factory=dict)
    labels_key: str = "channel_def"
    host: dict[str, Any] = field(default_factory=dict)
    script: bool = False
    """Whether models/ holds TorchScript only."""
    segments: Sequence[tuple[str, str]] = (("Spleen", "78961009"), ("Left kidney", "64033007"))
    """Name and SNOMED CT code of the labels from 1 on."""
    more: dict[str, Any] = field(default_factory=dict)
    """What its descriptor says beside the usual."""
    image: dict[str, Any] = field(default_factory=dict)
    """What its metadata says of its image beside the usual."""


FORMS = {
    "usual": Form(
        network={"_target_": "UNet", **_UNET, **_UNET_SIZE},
        module=lambda: UNet(**_UNET, **_UNET_SIZE),
        wrap=lambda state: {"model": state},
        changes={"evaluator": {"amp": True}},
    ),
    "yaml": Form(
        network={"_target_": "SegResNet", **_UNET, **_SEGRESNET},
        module=lambda: SegResNet(**_UNET, **_SEGRESNET),
        before=(
            keyed("LoadImaged", reader="NibabelReader", image_only=False),
            *_RESAMPLING,
            keyed("CropForegroundd", source_key="image", margin=2),
        ),
        after=(SOFTMAX, _ARGMAX, invert(nearest_interp=True, to_tensor=True), save()),
        yaml=True,
        run_key="evaluating",
        labels_key="label_def",
        changes={
            "dataset": {"_target_": "CacheDataset", "cache_rate": 1.0, "progress": False},
            "dataloader": {"num_workers": 2, "persistent_workers": True},
        },
    ),
    "scripts": Form(
        network={"_target_": "scripts.net.Small", "classes": 3},
        module=None,
        before=(keyed("LoadImaged", ensure_channel_first=True), *_RESAMPLING[1:]),
        after=(SOFTMAX, _ARGMAX, save(resample=True, output_dtype="int16")),
        changes={
            "evaluator": {"_target_": "scripts.engine.PromptedEvaluator"},
            "initialize": ["$monai.utils.set_determinism(seed=3)", "$@network.train()"],
        },
        host={"extra_inputs": {"label_prompt": [2]}},
    ),
    "torchscript": Form(
        network={"_target_": "$"},
        module=lambda: UNet(**_UNET, **_UNET_SIZE),
        script=True,
    ),
    "many": Form(
        network={"_target_": "UNet", **_UNET, "out_channels": 9, **_UNET_SIZE},
        module=lambda: UNet(**{**_UNET, "out_channels": 9}, **_UNET_SIZE),
        before=(
            keyed("LoadImaged"),
            *_RESAMPLING,
            keyed("CropForegroundd", source_key="image", margin=1),
            keyed("DivisiblePadd", k=16),
        ),
        after=(SOFTMAX, invert(nearest_interp=False), _ARGMAX, save()),
        segments=tuple((f"Part {n}", f"1000{n}") for n in range(1, 9)),
    ),
    "reader": Form(
        network={"_target_": "UNet", **_UNET, **_UNET_SIZE},
        module=lambda: UNet(**_UNET, **_UNET_SIZE),
        before=(keyed("LoadImaged", reader="scripts.reader.HalvingReader"), *_RESAMPLING),
        host={"path": "file"},
    ),
    "channels": Form(
        network={"_target_": "UNet", **_UNET, **_UNET_SIZE, "in_channels": 4},
        module=lambda: UNet(**{**_UNET, **_UNET_SIZE, "in_channels": 4}),
        before=(
            *(keyed("LoadImaged"), *_RESAMPLING[:3]),
            keyed("NormalizeIntensityd", nonzero=True, channel_wise=True),
        ),
        more=taking(*((name, "image") for name in ("t1c", "t1", "t2", "flair"))),
        image={"num_channels": 4, "channel_def": {"0": "T1c", "1": "T1", "2": "T2", "3": "FLAIR"}},
    ),
    "keys": Form(
        network={"_target_": "UNet", **_UNET, **_UNET_SIZE, "in_channels": 3},
        module=lambda: UNet(**{**_UNET, **_UNET_SIZE, "in_channels": 3}),
        before=(
            _on_phases("LoadImaged"),
            _on_phases("EnsureChannelFirstd"),
            _on_phases("Orientationd", axcodes="LPS", labels=None),
            _on_phases("Spacingd", pixdim=[4.0, 4.0, 6.0], mode="bilinear"),
            _on_phases("ScaleIntensityRanged", a_min=-500, a_max=500, b_min=0, b_max=1, clip=True),
            _on_phases("ConcatItemsd", name="image"),
        ),
        after=(SOFTMAX, {**invert(), "orig_keys": "artery"}, _ARGMAX, save(output_dtype="uint8")),
        more=taking(*((name, name) for name in PHASES)),
    ),
}
"""Forms that MONAI itself runs, each with its own peculiarities."""


def zoo_bundle(
    models_dir: Path,
    name: str,
    form: Form,
    *,
    more: Mapping[str, Any] | None = None,
    **host: Any,
) -> Model:
    """Write a bundle of a form and deploy it; ``host`` and ``more`` go into its descriptor."""
    root = models_dir / name
    for folder in ("configs", "models", "scripts"):
        (root / folder).mkdir(parents=True)
    for file, text in _SCRIPTS.items():
        (root / "scripts" / file).write_text(text)
    config = _config(form)
    text = yaml.safe_dump(config) if form.yaml else json.dumps(config)
    (root / "configs" / f"inference.{'yaml' if form.yaml else 'json'}").write_text(text)
    (root / "configs" / "metadata.json").write_text(json.dumps(_metadata(form)))
    _write_weights(root / "models", form)
    content = _descriptor(form, bundle_digest(root), {**form.host, **host}) | form.more
    content |= more or {}
    (models_dir / f"{name}.yaml").write_text(json.dumps(content))
    return load_model(models_dir, name)


def _config(form: Form) -> dict[str, Any]:
    device = "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": "$@bundle_root + '/models/model.pt'",
        "load_dict": {"model": "@network"},
        "map_location": "@device",
    }
    config: dict[str, Any] = {
        "imports": ["$import glob", "$import monai", "$import torch"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/nowhere",
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii.gz'))",
        "device": device,
        "network_def": form.network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": list(form.before)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 8], "overlap": 0.5},
        "postprocessing": {"_target_": "Compose", "transforms": list(form.after)},
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}, loader],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        form.run_key: ["$setattr(torch.backends.cudnn, 'benchmark', True)", "$@evaluator.run()"],
    }
    if form.script:
        config["network_def"] = "$torch.jit.load(@bundle_root + '/models/model.ts')"
        config["handlers"] = config["handlers"][:1]
    for key, value in form.changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    return config


def _metadata(form: Form) -> dict[str, Any]:
    image = {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1}
    image |= form.image
    names = ["background", *(name.lower() for name, _ in form.segments)]
    labels = {form.labels_key: {str(label): name for label, name in enumerate(names)}}
    return {
        "version": "0.1.0",
        "monai_version": "1.3.0",
        "name": "Small",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": labels}},
    }


def _write_weights(folder: Path, form: Form) -> None:
    torch.manual_seed(20)
    if form.module is None:
        namespace: dict[str, Any] = {}
        exec(_SCRIPTS["net.py"], namespace)  # noqa: S102 - the text above
        network: torch.nn.Module = namespace["Small"](3)
    else:
        network = form.module()
    if form.script:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # bundles have it all the same
            script: Any = torch.jit.script(network.eval())
            script.save(folder / "model.ts")
    else:
        torch.save(form.wrap(network.state_dict()), folder / "model.pt")


def _descriptor(form: Form, digest: str, host: dict[str, Any]) -> dict[str, Any]:
    segments = [
        {
            "labelID": label,
            "SegmentLabel": name,
            "SegmentedPropertyCategoryCodeSequence": code("123037004", "Anatomical structure"),
            "SegmentedPropertyTypeCodeSequence": code(value, name),
            "recommendedDisplayRGBValue": [200, 100, 50 * label % 256],
        }
        for label, (name, value) in enumerate(form.segments, start=1)
    ]
    return {
        "bundle_digest": digest,
        "modality": ["CT"],
        "series_description": "Small (test)",
        "time_limit_seconds": 120,
        "segments": segments,
        "host": host,
    }
