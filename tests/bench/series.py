"""The CT series that every receiver is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series

# As much noise as Hounsfield units hold: no file system or receiver gains by compression.
_NOISE_HU = 1000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesFiles:
    """The Part 10 files of one series, one instance each, in the order of their numbers."""

    paths: tuple[Path, ...]
    size_bytes: int

    def shares(self, count: int) -> list[Sequence[Path]]:
        """Deal the files to a number of senders, as evenly as it goes."""
        return [self.paths[first::count] for first in range(count)]


def make_series(folder: Path, slices: int, noise_hu: float = _NOISE_HU) -> SeriesFiles:
    """Scan a phantom as one CT series of 512 x 512 x 16 bit, about 526 kB an instance."""
    anatomy = Anatomy.asymmetric_object()
    acquisition = Acquisition(
        slices=slices,
        slice_spacing_mm=1.0,
        centre_lps_mm=anatomy.centre_lps_mm,
        noise_hu=noise_hu,
    )
    paths = sorted(write_series(scan(anatomy, acquisition), folder))
    return SeriesFiles(paths=tuple(paths), size_bytes=sum(path.stat().st_size for path in paths))
