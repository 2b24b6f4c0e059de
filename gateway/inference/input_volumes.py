"""The several series that a model takes, as volumes on the grid of the first of them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset

from gateway.dicom.grids import FloatVolume, is_same_grid, resampled
from gateway.dicom.reasons import GeometryReason
from gateway.errors import DataSetUnreadable, GeometryRefused, InputRefused
from gateway.inference.bundle import Model
from gateway.inference.decoders import Decoders
from gateway.inference.series_input import Grid
from gateway.inference.volume import SeriesVolume, only_plan, read_volume
from gateway.inference.volume_plan import VolumePlan


def read_inputs(
    paths: Mapping[str, Sequence[Path]], model: Model, decoders: Decoders | None = None
) -> SeriesVolume:
    """Read the files of each input, by its name, and return the first with the ``others``.

    All headers are read, and all grids compared, before any pixel is decoded. Raises what
    `gateway.inference.volume.read_series_volume` raises, with the name of the input, InputRefused
    for one of a modality that the model does not take, and GeometryRefused for one that does
    not lie on the first one's grid and may not, or cannot, be brought there.
    """
    names = [one.name for one in model.descriptor.inputs]
    plans: dict[str, VolumePlan] = {}
    for name in names:
        with _of_input(name):
            plans[name] = only_plan(paths[name], model.descriptor.input)
            require_modality(plans[name].frames[0].header, model)
            _require_comparable(plans[name], plans[names[0]], names[0], model.descriptor.grid)
    volumes = []
    for name in names:
        with _of_input(name):
            volumes.append(read_volume(plans[name], decoders))
    return _together(volumes)


def require_modality(header: Dataset, model: Model) -> None:
    """Raise InputRefused unless the series of a header is of a modality that the model takes."""
    modality = str(header.get("Modality", ""))
    allowed = model.descriptor.modality
    if modality not in allowed:
        raise InputRefused(
            f"the series is {modality or 'of no modality'}, "
            f"and model {model.name} takes {' or '.join(allowed)}"
        )


@contextmanager
def _of_input(name: str) -> Iterator[None]:
    """Let a refusal within the block say which input it is about."""
    try:
        yield
    except GeometryRefused as error:
        detail = f"input {name}: {error.detail}"
        raise GeometryRefused(error.reason, detail, error.instances) from error
    except InputRefused as error:
        detail = f"input {name}: {error.detail}"
        raise InputRefused(detail, reason=error.reason, instances=error.instances) from error
    except DataSetUnreadable as error:
        raise DataSetUnreadable(f"input {name}: {error}") from error


def _require_comparable(plan: VolumePlan, first: VolumePlan, first_name: str, grid: Grid) -> None:
    frame, other = (one.frames[0].image.plane.frame_of_reference_uid for one in (plan, first))
    instances = [plan.frames[0].sop_instance_uid, first.frames[0].sop_instance_uid]
    if frame != other:
        raise GeometryRefused(
            GeometryReason.OTHER_FRAME_OF_REFERENCE,
            f"it has another Frame of Reference UID than {first_name}, so that their positions "
            "do not compare",
            instances,
        )
    if is_same_grid(plan.geometry, first.geometry):
        return
    if grid is Grid.SAME:
        raise GeometryRefused(
            GeometryReason.OTHER_GRID,
            f"its voxels ({_words(plan)}) do not lie on those of {first_name} ({_words(first)}), "
            "which the model's descriptor asks for with `grid: same`",
            instances,
        )
    if not frame:
        raise GeometryRefused(
            GeometryReason.OTHER_FRAME_OF_REFERENCE,
            f"it lies on another grid than {first_name}, and neither names a Frame of Reference "
            "UID in which their positions would compare",
            instances,
        )


def _words(plan: VolumePlan) -> str:
    grid = plan.geometry
    sizes = " x ".join(str(number) for number in grid.shape)
    sides = (grid.slice_spacing_mm, grid.row_spacing_mm, grid.column_spacing_mm)
    return f"{sizes} of {' x '.join(f'{side:.3g}' for side in sides)} mm"


def _together(volumes: Sequence[SeriesVolume]) -> SeriesVolume:
    """Return the first volume with the arrays of the others on its grid, and all timings."""
    first, *others = volumes
    timings_ms: dict[str, float] = {}
    for volume in volumes:
        for stage, ms in volume.timings_ms.items():
            timings_ms[stage] = timings_ms.get(stage, 0) + ms
    started = time.perf_counter()
    arrays = tuple(_on_grid_of(first, volume) for volume in others)
    if any(one is not other.array for one, other in zip(arrays, others, strict=True)):
        timings_ms["resample"] = (time.perf_counter() - started) * 1000
    return replace(first, others=arrays, timings_ms=timings_ms)


def _on_grid_of(first: SeriesVolume, volume: SeriesVolume) -> FloatVolume:
    if is_same_grid(volume.geometry, first.geometry):
        return volume.array
    return resampled(volume.array, volume.geometry, first.geometry)
