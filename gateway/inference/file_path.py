"""Images that a bundle reads and writes as files, in a private folder of the main memory."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from gateway.inference.memory_images import BundleUnsupported

_SAME_PLACE_MM = 1e-2
_SUFFIXES = (".nii", ".nii.gz")


class ImageFile:
    """A folder in which the inputs lie for the bundle, and where it leaves its output.

    Nothing stays in it after an image, whatever happened; the folder itself is removed by who
    made it, even when the bundle's process is killed.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Use a folder for inputs of these names."""
        self._folder = folder
        self.inputs = tuple(folder / name for name in names)
        self._affine_ras: npt.NDArray[np.float64] = np.eye(4)

    @contextmanager
    def holding(self, images: Sequence[nibabel.Nifti1Image]) -> Iterator[None]:
        """Write the images, on one grid, for the block's time; remove every file after it."""
        try:
            for path, image in zip(self.inputs, images, strict=True):
                nibabel.save(image, path)
            self._affine_ras = images[0].affine
            yield
        finally:
            _empty(self._folder)

    def written(self) -> npt.NDArray[Any]:
        """Return the one image that the bundle wrote: (columns, rows, slices[, channels]).

        Raises BundleUnsupported when it wrote none, or several, or one on another grid.
        """
        found = [
            path
            for path in sorted(self._folder.rglob("*"))
            if path.name.endswith(_SUFFIXES) and path not in self.inputs and path.is_file()
        ]
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise BundleUnsupported(f"it must write one NIfTI image for a series; it wrote {names}")
        image = nibabel.load(found[0])
        if not np.allclose(image.affine, self._affine_ras, atol=_SAME_PLACE_MM):
            raise BundleUnsupported(
                "the image that it wrote lies elsewhere than its input; "
                "the postprocessing must invert the preprocessing"
            )
        return np.array(image.dataobj)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
