"""A bundle's inference configuration, read by MONAI and turned to one image at a time.

What the bundle says is kept, but for where images come from, where they go, and that weights
are loaded once: its evaluator, inferer, transforms, ``initialize`` and ``run`` are its own.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigComponent, ConfigWorkflow

from gateway.inference.memory_images import BundleUnsupported
from gateway.inference.weights import put_weights, read_weights, weights_file

RUN_KEYS = ("run", "evaluating", "inference", "inferring", "infer", "evaluate", "eval")
"""Keys under which bundles of the MONAI model zoo keep the expressions that run them."""

_CACHING_DATASETS = ("CacheDataset", "PersistentDataset", "SmartCacheDataset", "LMDBDataset")
_WORKER_OPTIONS = ("prefetch_factor", "persistent_workers", "multiprocessing_context", "timeout")
_LOADERS_OF_WEIGHTS = ("CheckpointLoader",)
_LOADERS = ("LoadImaged", "LoadImageD", "LoadImageDict")
_READERS = ("ITKReader", "NrrdReader", "PydicomReader", "NumpyReader", "PILReader")
_OWN_LOADER = "gateway.inference.weights.WeightsLoader"


def open_workflow(
    *,
    root: Path,
    config_file: Path,
    metadata_file: Path,
    device: str | None,
    item: Mapping[str, Any],
    scratch: Path,
    by_file: bool,
) -> ConfigWorkflow:
    """Read a configuration for a data set of the one ``item``, and run its ``initialize``.

    ``device`` overrides the bundle's own choice, which takes a GPU when there is one; what the
    bundle saves goes to the folder ``scratch``. Unless images go ``by_file``, what MONAI's
    readers of other formats need is not required, since none is used. The process's working
    folder becomes the bundle's. Raises BundleUnsupported, and whatever the bundle's code raises.
    """
    sys.path.insert(0, str(root))  # a bundle imports its own package "scripts"
    os.chdir(root)
    workflow = ConfigWorkflow(
        config_file=str(config_file),
        meta_file=str(metadata_file),
        logging_file=False,
        workflow_type="inference",
        bundle_root=str(root),
        **({"device": f"$torch.device('{device}')"} if device else {}),
    )
    config = workflow.parser[""]
    _require_convention(config)
    _give(config, item, scratch)
    if not by_file:
        _need_no_reader(config)
    workflow.initialize()
    return workflow


def run_key(workflow: ConfigWorkflow, wanted: str | None) -> str | None:
    """Return the key whose expressions run the evaluator; None when it is run by itself.

    Raises BundleUnsupported when there is no key of the name ``wanted``.
    """
    config = workflow.parser[""]
    if wanted is not None:
        if wanted not in config:
            known = ", ".join(key for key in RUN_KEYS if key in config) or "none of the usual ones"
            raise BundleUnsupported(f"its configuration has no run key {wanted!r}; it has {known}")
        return wanted
    return next((key for key in RUN_KEYS if "evaluator" in str(config.get(key, ""))), None)


def load_weights(workflow: ConfigWorkflow, root: Path) -> None:
    """Load the weights now, so that the first image does not wait and a misfit is found.

    A configuration without any loader of weights gets models/model.pt, or model.ts, unless its
    network came with them. Raises WeightsUnreadable.
    """
    loaders = [
        workflow.parser.get_parsed_content(name)
        for name, item in workflow.parser.ref_resolver.items.items()
        if isinstance(item, ConfigComponent) and item.get_config().get("_target_") == _OWN_LOADER
    ]
    for loader in loaders:
        if loader is not None:  # one may be disabled by the configuration
            loader(workflow.evaluator)
    network = workflow.evaluator.network if hasattr(workflow.evaluator, "network") else None
    if loaders or network is None or isinstance(network, torch.jit.ScriptModule):
        return
    if not any("load" in text for text in _expressions(workflow.parser[""])):
        path = weights_file(root / "models" / "model.pt")
        put_weights(network, read_weights(path, "cpu"), path)


def _require_convention(config: Mapping[str, Any]) -> None:
    for key in ("dataset", "evaluator"):
        if not isinstance(config.get(key), dict):
            raise BundleUnsupported(
                f"its configuration defines no {key!r}, which the MONAI bundle specification asks "
                "for in an inference configuration"
            )


def _give(config: dict[str, Any], item: Mapping[str, Any], scratch: Path) -> None:
    """Exchange in a configuration where images come from and go to, and what loads weights."""
    dataset = config["dataset"]
    dataset["data"] = [dict(item)]
    if str(dataset.get("_target_", "")).rpartition(".")[2] in _CACHING_DATASETS:
        # A cache would give the first image again, and its options mean nothing here.
        plain = {key: dataset[key] for key in ("data", "transform") if key in dataset}
        config["dataset"] = {"_target_": "Dataset", **plain}
    loader = config.get("dataloader")
    if isinstance(loader, dict):
        loader |= {"num_workers": 0, "pin_memory": False}
        for name in _WORKER_OPTIONS:
            loader.pop(name, None)
    if "output_dir" in config:
        config["output_dir"] = str(scratch)
    for component in _components(config):
        target = str(component["_target_"]).rpartition(".")[2]
        if target in _LOADERS_OF_WEIGHTS:
            component["_target_"] = _OWN_LOADER
        elif target in ("SaveImaged", "SaveImageD", "SaveImageDict"):
            component["output_dir"] = str(scratch)


def _need_no_reader(config: dict[str, Any]) -> None:
    for component in _components(config):
        is_loader = str(component["_target_"]).rpartition(".")[2] in _LOADERS
        if is_loader and str(component.get("reader", "")).rpartition(".")[2] in _READERS:
            del component["reader"]


def _components(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "_target_" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _components(one)


def _expressions(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("$"):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key != "_meta_":
                yield from _expressions(one)
    elif isinstance(value, list):
        for one in value:
            yield from _expressions(one)
