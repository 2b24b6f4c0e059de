"""``python -m monai.bundle run``: what a bundle's author runs, in a process of its own."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from gateway.inference import Model, SeriesVolume
from tests.bench.failure import BenchmarkFailed


class BundleRun:
    """Runs a bundle on one volume, which lies ready as an uncompressed NIfTI file."""

    def __init__(
        self, model: Model, volume: SeriesVolume, folder: Path, device: str | None
    ) -> None:
        self._model = model
        self._folder = folder
        self._device = device
        self._image = folder / "image.nii"
        array = volume.array.transpose(2, 1, 0)
        nibabel.save(nibabel.Nifti1Image(array, volume.geometry.affine_ras), self._image)

    def seconds(self) -> float:
        """Run it once, from the start of Python to the written label map.

        Raises:
            BenchmarkFailed: it did not end well.
        """
        started = time.perf_counter()
        done = subprocess.run(
            self._command(), cwd=self._model.bundle.root, capture_output=True, text=True
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise BenchmarkFailed(f"monai.bundle run: {done.stderr[-2000:]}")
        return seconds

    def label_map(self) -> npt.NDArray[Any]:
        """Return what the last run wrote, as (slices, rows, columns)."""
        [path] = (self._folder / "out").rglob("*.nii.gz")
        array: npt.NDArray[Any] = np.asanyarray(nibabel.load(path).dataobj)
        return array.transpose(2, 1, 0)

    def _command(self) -> list[str]:
        options = {
            "config_file": str(self._model.bundle.config_file),
            "bundle_root": str(self._model.bundle.root),
            "dataset#data": json.dumps([{"image": str(self._image)}]),
            "output_dir": str(self._folder / "out"),
        }
        if self._device is not None:
            options["device"] = f"$torch.device('{self._device}')"
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", *words]
