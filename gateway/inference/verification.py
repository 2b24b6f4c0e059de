"""A dry run of a model before any patient: does it load, run, and give what it says?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gateway.errors import BundleHostLost, ModelFailed, Problem
from gateway.inference.bundle import Model
from gateway.inference.host_requirements import SAME_LABELS, Acceleration, Amp, ImagePath
from gateway.inference.hosts import BundleHosts, Inference
from gateway.inference.volume import SeriesVolume

_USE_FILES = "write `host: {path: file}` into its descriptor"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DryRun:
    """What a model made of a volume, and what is wrong with it; nothing, when it is sound.

    ``agreement`` is the share of voxels that have the same label without what the descriptor
    asks of speed, None where it asks for nothing.
    """

    inference: Inference | None
    problems: tuple[str, ...]
    agreement: float | None = None


def dry_run(model: Model, hosts: BundleHosts, volume: SeriesVolume) -> DryRun:
    """Run a model twice in the way that its descriptor says, and once by files.

    Both must agree in every voxel: a bundle that sees another image in memory than in a file
    would give results that nobody has validated.
    """
    try:
        first = hosts.segment(model, volume)
        second = hosts.segment(model, volume)
    except (ModelFailed, BundleHostLost) as error:
        return DryRun(inference=None, problems=tuple(_why(error, model, hosts, volume)))
    found: list[str] = []
    differing = _differing(first, second)
    if differing:
        found.append(
            f"two runs on the same volume differ in {differing} voxels; a result could not be "
            "reproduced"
        )
    elif model.descriptor.host.path is ImagePath.MEMORY:
        found.extend(_other_way(model, hosts, volume, first))
    agreement = None if model == plain(model) else _agreement(model, hosts, volume, first)
    if agreement is not None and agreement < SAME_LABELS:
        asked = model.descriptor.host
        found.append(
            f"with `host: {{accelerate: {asked.accelerate}, amp: {asked.amp}}}` only "
            f"{agreement:.3%} of voxels have the label that they have without"
        )
    return DryRun(inference=first, problems=tuple(found), agreement=agreement)


def loading_problems(models: Sequence[Model], models_dir: Path) -> tuple[Problem, ...]:
    """Load each model in a process of its own on the CPU; takes seconds for each.

    Returns why models do not load, at their descriptors.
    """
    if not models:
        return ()
    with BundleHosts(device="cpu") as hosts:
        found = ((model, not_loaded(model, hosts)) for model in models)
        return tuple(
            Problem(models_dir / f"{model.name}.yaml", 1, 1, why) for model, why in found if why
        )


def not_loaded(model: Model, hosts: BundleHosts) -> str:
    """Load a model in its process, and return why it does not load, or nothing where it does."""
    try:
        hosts.start(model)
    except (ModelFailed, BundleHostLost) as error:
        return str(error)
    return ""


def by_files(model: Model) -> Model:
    """Return the model as it would be with ``host: {path: file}`` in its descriptor."""
    host = model.descriptor.host.model_copy(update={"path": ImagePath.FILE})
    return replace(model, descriptor=model.descriptor.model_copy(update={"host": host}))


def plain(model: Model) -> Model:
    """Return the model as it would be without acceleration, in the bundle's own precision."""
    update = {"accelerate": Acceleration.NONE, "amp": Amp.BUNDLE}
    host = model.descriptor.host.model_copy(update=update)
    return replace(model, descriptor=model.descriptor.model_copy(update={"host": host}))


def _agreement(
    model: Model, hosts: BundleHosts, volume: SeriesVolume, fast: Inference
) -> float | None:
    without = hosts.segment(plain(model), volume)
    return 1 - _differing(fast, without) / fast.label_map.size


def _why(error: Exception, model: Model, hosts: BundleHosts, volume: SeriesVolume) -> Iterator[str]:
    yield str(error)
    if model.descriptor.host.path is ImagePath.MEMORY:
        try:
            hosts.segment(by_files(model), volume)
        except (ModelFailed, BundleHostLost):
            return
        yield f"it works by files: {_USE_FILES}"


def _other_way(
    model: Model, hosts: BundleHosts, volume: SeriesVolume, in_memory: Inference
) -> Iterator[str]:
    try:
        from_file = hosts.segment(by_files(model), volume)
    except (ModelFailed, BundleHostLost):
        return  # it writes no file to compare with, which it need not
    differing = _differing(in_memory, from_file)
    if differing:
        yield f"by files its result differs in {differing} voxels; {_USE_FILES}"


def _differing(first: Inference, second: Inference) -> int:
    return int(np.count_nonzero(first.label_map != second.label_map))
