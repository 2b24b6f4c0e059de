"""Slices of a volume decoded into it: the part of the work that a process can be given."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gateway.dicom.pixels import Rescale, frame_values, modality_values
from gateway.dicom.reasons import InputReason
from gateway.errors import InputRefused
from gateway.inference.selection import SourceFrame, read_source


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """One image of a file, and its place among the slices of the volume."""

    index: int
    sop_instance_uid: str
    frame_number: int | None
    """Its number, from 1, in an object of many frames."""
    rescale: Rescale

    @classmethod
    def of(cls, index: int, frame: SourceFrame) -> Self:
        """Return a frame as a slice."""
        return cls(
            index=index,
            sop_instance_uid=frame.sop_instance_uid,
            frame_number=frame.image.plane.frame_number,
            rescale=frame.image.rescale,
        )

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Self:
        """Return what `as_json` made."""
        index, sop_instance_uid, frame_number, slope, intercept = value
        return cls(
            index=index,
            sop_instance_uid=sop_instance_uid,
            frame_number=frame_number,
            rescale=Rescale(slope=slope, intercept=intercept),
        )

    def as_json(self) -> list[Any]:
        """Return the slice as JSON can hold it."""
        rescale = self.rescale
        return [
            self.index,
            self.sop_instance_uid,
            self.frame_number,
            rescale.slope,
            rescale.intercept,
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSlices:
    """The slices that one file holds, or some of them."""

    path: Path
    slices: tuple[Slice, ...]


def file_slices(slices: Iterable[tuple[int, SourceFrame]]) -> Iterator[FileSlices]:
    """Give slices, each a place and a frame, by the file that holds them."""
    in_files = sorted(slices, key=lambda one: (one[1].path, one[0]))
    for path, those in groupby(in_files, key=lambda one: one[1].path):
        yield FileSlices(path=path, slices=tuple(Slice.of(*one) for one in those))


def decode_into(array: npt.NDArray[np.float32], file: FileSlices) -> None:
    """Decode slices of a file to their places in (slices, rows, columns).

    Raises InputRefused for pixels that no decoder reads, or of another size than announced, and
    DataSetUnreadable for a file that is no DICOM any more.
    """
    for one, values in zip(file.slices, _values(file), strict=True):
        if values.shape != array.shape[1:]:
            raise InputRefused(
                f"instance {one.sop_instance_uid} holds {values.shape} pixels where its header "
                f"announces {array.shape[1:]}",
                reason=InputReason.UNREADABLE_PIXELS,
                instances=[one.sop_instance_uid],
            )
        array[one.index] = values


def _values(file: FileSlices) -> Iterator[npt.NDArray[np.float32]]:
    """Give the images of a file in the order of its slices."""
    dataset = read_source(file.path, with_pixels=True)
    frames = [(one.frame_number, one.rescale) for one in file.slices]
    in_file = [(number, rescale) for number, rescale in frames if number is not None]
    if in_file:
        yield from frame_values(dataset, in_file)
    else:
        yield modality_values(dataset)
