"""What a receiver reads out of a DICOM SEG, with highdicom alone."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from numpy.typing import NDArray

from tests.peers.node import MODELS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelMap:
    """Segment numbers on a grid; ``affine_lps`` takes (slice, row, column) to LPS mm."""

    labels: NDArray[np.uint8]
    affine_lps: NDArray[np.float64]
    names: dict[int, str]

    def number(self, name: str) -> int:
        """Return the segment whose label contains a word."""
        found = [number for number, label in self.names.items() if name in label.lower()]
        assert len(found) == 1, f"{name!r} in {self.names}"
        return found[0]

    def centroid_lps_mm(self, number: int) -> NDArray[np.float64]:
        """Return the mean place of a segment's voxels in the patient."""
        inside = np.argwhere(self.labels == number)
        assert len(inside), f"segment {number} is empty"
        place = self.affine_lps @ np.append(inside.mean(axis=0), 1.0)
        return np.asarray(place[:3], dtype=np.float64)


def read_label_map(path: Path) -> LabelMap:
    """Read a segmentation as one label map over the grid that it describes itself."""
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(combine_segments=True, rescale_fractional=False)
    described = seg.segment_numbers
    return LabelMap(
        labels=np.asarray(volume.array, dtype=np.uint8),
        affine_lps=np.asarray(volume.affine, dtype=np.float64),
        names={n: str(seg.get_segment_description(n).segment_label) for n in described},
    )


def same_voxels(one: LabelMap, other: LabelMap) -> bool:
    """Tell whether two label maps hold the same segments at the same places.

    The empty slices at either end do not count: a SEG leaves them out, and then its own grid
    begins at the first slice that has something.
    """
    return one.names == other.names and np.array_equal(_placed(one), _placed(other))


def _placed(label_map: LabelMap) -> NDArray[np.float64]:
    """Return (x, y, z, label) of each labelled voxel in a defined order, to 0.001 mm."""
    inside = np.argwhere(label_map.labels)
    places = inside @ label_map.affine_lps[:3, :3].T + label_map.affine_lps[:3, 3]
    rows = np.column_stack([np.round(places, 3) + 0.0, label_map.labels[tuple(inside.T)]])
    return np.asarray(rows[np.lexsort(rows.T)], dtype=np.float64)


def run_model(model: str, source: Path, target: Path) -> dict[str, Any]:
    """Run a model on a folder with ``gateway models run`` and return what it prints."""
    target.mkdir(parents=True, exist_ok=True)
    config = target.parent / f"{target.name}.toml"
    config.write_text(f'[node]\ndata_dir = "{target.parent / "unused"}"\nmodels_dir = "{MODELS}"\n')
    command = [sys.executable, "-m", "gateway", "models", "run", model, str(source), str(target)]
    done = subprocess.run(
        [*command, "--json", "--config", str(config)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed
