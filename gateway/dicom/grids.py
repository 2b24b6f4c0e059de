"""Two regular grids in one patient: whether they are the same, and values of one on the other."""

from itertools import product

import numpy as np
import numpy.typing as npt

from gateway.dicom.geometry import VolumeGeometry
from gateway.dicom.planes import FloatArray

FloatVolume = npt.NDArray[np.float32]

SAME_PLACE = 0.1
"""How far voxels of two grids may lie apart and be the same, as a part of the voxel's least side:
far below what a resampled voxel can show."""

_ROUNDING = 6  # decimals of a voxel; keeps values of coinciding voxels free of interpolation
_CORNERS = tuple(product((0, 1), repeat=3))


def is_same_grid(one: VolumeGeometry, other: VolumeGeometry) -> bool:
    """Tell whether every voxel of one grid lies where the other has its own of the same index."""
    if one.shape != other.shape:
        return False
    least_side_mm = min(np.linalg.norm(one.affine_lps[:3, :3], axis=0))
    last = np.array(one.shape) - 1
    corners = np.array([[*(corner * last), 1] for corner in np.array(_CORNERS)])
    apart_mm = np.linalg.norm(((one.affine_lps - other.affine_lps) @ corners.T)[:3], axis=0)
    return bool(apart_mm.max() <= SAME_PLACE * least_side_mm)


def resampled(array: FloatVolume, grid: VolumeGeometry, target: VolumeGeometry) -> FloatVolume:
    """Return the values of ``array``, which lies on ``grid``, at the voxels of ``target``.

    Both arrays are (slices, rows, columns). Values are linear between the eight voxels around;
    where there are none, the lowest value of the array stands, which is air in a CT.
    """
    to_source = np.linalg.inv(grid.affine_lps) @ target.affine_lps
    result = np.full(target.shape, array.min(initial=np.inf), dtype=np.float32)
    rows, columns = np.meshgrid(*(np.arange(n) for n in target.shape[1:]), indexing="ij")
    in_plane = to_source[:3, 1, None, None] * rows + to_source[:3, 2, None, None] * columns
    for index, values in enumerate(result):
        start = to_source[:3, 0] * index + to_source[:3, 3]
        places = np.round(in_plane + start[:, None, None], _ROUNDING)
        last = np.array(array.shape)[:, None, None] - 1
        inside = ((places >= 0) & (places <= last)).all(axis=0)
        values[inside] = _between(array, places[:, inside])
    return result


def _between(array: FloatVolume, places: FloatArray) -> FloatVolume:
    """Interpolate at places (3, n), all within the array, in voxels of it."""
    # The last voxel of an axis is the upper one of its pair.
    highest = np.maximum(np.array(array.shape) - 2, 0)[:, None]
    lower = np.minimum(places.astype(np.int64), highest)
    weights = places - lower
    steps = np.array([array.shape[1] * array.shape[2], array.shape[2], 1])
    first = steps @ lower
    flat = np.ascontiguousarray(array).reshape(-1)
    total = np.zeros(places.shape[1], dtype=np.float64)
    for corner in np.array(_CORNERS):
        weight = np.prod(np.where(corner[:, None], weights, 1 - weights), axis=0)
        # A weight of 0 may belong to a place beyond the array, of an axis of one voxel.
        total += weight * flat[np.minimum(first + steps @ corner, flat.size - 1)]
    return total.astype(np.float32)
