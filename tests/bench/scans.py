"""The CT series that models are measured on."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from pydicom import dcmread
from pydicom.misc import is_dicom
from pydicom.uid import JPEG2000Lossless

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series
from tests.bench.failure import BenchmarkFailed

_LENGTH_MM = 500.0
_WIDTH_MM = 460.0


def scanned(folder: Path, slices: int, size: int) -> tuple[Path, ...]:
    """Scan a torso of the phantom in so many slices of ``size`` x ``size`` x 16 bit."""
    pixel_mm = _WIDTH_MM / size
    acquisition = Acquisition(
        rows=size,
        columns=size,
        slices=slices,
        row_spacing_mm=pixel_mm,
        column_spacing_mm=pixel_mm,
        slice_spacing_mm=_LENGTH_MM / slices,
    )
    return tuple(sorted(write_series(scan(Anatomy.torso(), acquisition), folder)))


def files_in(folder: Path) -> tuple[Path, ...]:
    """Return the DICOM files in a folder and those below it; others are left out.

    Raises:
        BenchmarkFailed: there is none.
    """
    found = tuple(path for path in sorted(folder.rglob("*")) if path.is_file() and is_dicom(path))
    if not found:
        raise BenchmarkFailed(f"{folder} holds no DICOM file")
    return found


def compressed(paths: Sequence[Path], folder: Path) -> tuple[Path, ...]:
    """Write a series again with JPEG 2000 lossless pixels, in as many processes as fit."""
    folder.mkdir(parents=True)
    targets = [folder / path.name for path in paths]
    processes = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        list(executor.map(_compress, paths, targets, chunksize=8))
    return tuple(targets)


def _compress(source: Path, target: Path) -> None:
    dataset = dcmread(source)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax != JPEG2000Lossless:
        if syntax.is_compressed:
            dataset.decompress(generate_instance_uid=False)
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.save_as(target)
