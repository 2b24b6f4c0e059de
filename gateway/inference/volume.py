"""A series of Part 10 files as arrays in modality values on regular grids."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from gateway.dicom.geometry import VolumeGeometry
from gateway.dicom.reasons import InputReason
from gateway.dicom.shear import Shear
from gateway.dicom.strays import Dropped
from gateway.errors import InputRefused
from gateway.inference.decoders import Decoders
from gateway.inference.input_requirements import InputRequirements
from gateway.inference.slices import decode_into, file_slices
from gateway.inference.volume_plan import VolumePlan, plan_volumes

FloatVolume = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeriesVolume:
    """One volume of a series.

    ``array`` is (slices, rows, columns) float32 in modality values, or in uptake values where
    these were asked for, on the grid ``geometry``. ``sources`` are the data sets without pixels
    in the order of the slices; of a multi-frame object, each slice has the same data set and
    its own number, from 1, in ``frame_numbers``, which is None for an instance of one image.
    ``part`` names the part of a series that was split, and ``dropped`` what was left out.
    ``others``, of a model that takes several series, are the arrays of its further inputs on the
    same grid.

    Where a tilted gantry was allowed, ``shear`` moved the slices to an upright grid, and what
    is found there comes back to the slices by `on_sources`.
    """

    array: FloatVolume
    geometry: VolumeGeometry
    sources: tuple[Dataset, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)
    frame_numbers: tuple[int | None, ...] = ()
    part: str = ""
    dropped: tuple[Dropped, ...] = ()
    shear: Shear | None = None
    others: tuple[FloatVolume, ...] = ()

    @property
    def source_geometry(self) -> VolumeGeometry:
        """The grid of the slices as they were made, on which a result is written."""
        return self.geometry if self.shear is None else self.shear.leaning

    def on_sources(self, label_map: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring a label map on the grid of ``array`` to the slices as they were made.

        The result has the shape (slices, rows, columns) of ``source_geometry``.
        """
        return label_map if self.shear is None else self.shear.lean_back(label_map)

    def slice_on_sources(self, index: int) -> FloatVolume:
        """Return the values (rows, columns) of a slice as it was made."""
        return self.array[index] if self.shear is None else self.shear.slice_back(self.array, index)


def read_series_volume(
    paths: Sequence[Path], requirements: InputRequirements | None = None
) -> SeriesVolume:
    """Read the instances of one series and arrange them to one volume.

    All headers are read before any pixel is decoded, so that a series that is no volume costs
    little. Raises GeometryRefused for a series that is no regular grid, InputRefused for what
    is no image, for several series, for a series that is split to several volumes, and for
    pixels that no decoder reads, and DataSetUnreadable for a file that is no DICOM.
    """
    return read_volume(only_plan(paths, requirements))


def only_plan(paths: Sequence[Path], requirements: InputRequirements | None = None) -> VolumePlan:
    """Find the one volume in the files of a series; raises as `plan_volumes`, and for several."""
    plans = plan_volumes(paths, requirements)
    if len(plans) > 1:
        raise InputRefused(
            f"the series is {len(plans)} volumes where one was asked for: "
            f"{'; '.join(plan.part for plan in plans)}",
            reason=InputReason.SEVERAL_VOLUMES,
            instances=[plan.frames[0].sop_instance_uid for plan in plans],
        )
    return plans[0]


def read_volume(plan: VolumePlan, decoders: Decoders | None = None) -> SeriesVolume:
    """Decode the slices of one volume, and set them upright where the stack leans by design.

    Without ``decoders`` this process decodes them one after the other. Raises InputRefused for
    pixels that no decoder reads, and DataSetUnreadable for a file that is no DICOM any more.
    """
    started = time.perf_counter()
    array = _decoded(plan, decoders)
    timings_ms = {"read": plan.read_ms, "decode": _since(started)}
    shear = Shear.of(plan.geometry)
    if shear is not None:
        started = time.perf_counter()
        array = shear.set_upright(array)
        timings_ms["shear"] = _since(started)
    return SeriesVolume(
        array=array,
        geometry=plan.geometry if shear is None else shear.upright,
        sources=tuple(frame.header for frame in plan.frames),
        timings_ms=timings_ms,
        frame_numbers=tuple(frame.image.plane.frame_number for frame in plan.frames),
        part=plan.part,
        dropped=plan.dropped,
        shear=shear,
    )


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _decoded(plan: VolumePlan, decoders: Decoders | None) -> FloatVolume:
    if decoders is None:
        array = np.empty(plan.geometry.shape, dtype=np.float32)
        for file in file_slices(list(enumerate(plan.frames))):
            decode_into(array, file)
    else:
        array = decoders.decode(plan.frames, plan.geometry.shape)
    if plan.suv_factor != 1.0:
        array *= np.float32(plan.suv_factor)
    return array
