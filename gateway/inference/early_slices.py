"""Images that were decoded before their series was complete, within a bound of memory."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]

BUDGET_BYTES = 1 << 30
"""A thousand slices of 512 x 512."""


class EarlySlices:
    """Decoded images, each by the file that it is all of; where they are too much, the oldest go.

    Files of the object store are named by the digest of their content and never change: an image
    is never taken for that of another content. Safe to use from several threads.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._guard = threading.Lock()
        self._images: OrderedDict[Path, Image] = OrderedDict()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What the images take."""
        return self._held_bytes

    def put(self, path: Path, image: Image) -> None:
        """Hold an image (rows, columns) in modality values."""
        with self._guard:
            self._drop(path)
            self._images[path] = image
            self._held_bytes += image.nbytes
            while self._held_bytes > self._budget_bytes:
                self._drop(next(iter(self._images)))

    def get(self, path: Path) -> Image | None:
        """Return a file's image, where it is here."""
        return self._images.get(path)

    def forget(self, paths: Iterable[Path]) -> None:
        """Let go of images, some of which may be gone already."""
        with self._guard:
            for path in paths:
                self._drop(path)

    def _drop(self, path: Path) -> None:
        image = self._images.pop(path, None)
        if image is not None:
            self._held_bytes -= image.nbytes
