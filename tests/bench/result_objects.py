"""What it takes to write one label map of many classes as SEG; each way in a process of its own.

``python -m tests.bench.result_objects WAY FOLDER`` reads the series in FOLDER, writes the SEG
twice, and prints what the second took as JSON.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import MappingProxyType

import highdicom
import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from gateway.inference import Model, Output, SeriesVolume, part10, read_series_volume
from gateway.inference.forms import DEFAULT, Form
from gateway.inference.labelmap import label_map_segmentation
from gateway.inference.result import SegmentedVolume
from gateway.inference.segmentation import segmentations
from tests.bench.failure import BenchmarkFailed
from tests.bench.resources import forget_peak, peak_bytes
from tests.unit.inference.bundles import IDENTITY
from tests.unit.inference.spleen import SPLEEN
from tests.unit.inference.zoo import zoo_bundle

CLASSES = 104
"""As many as TotalSegmentator's, and one fewer than the model zoo's wholeBody has channels."""

LabelMap = npt.NDArray[np.uint8]


class Way(StrEnum):
    """How a SEG is made."""

    LABELMAP = "gateway, LABELMAP"
    BINARY = "gateway, BINARY"
    HIGHDICOM = "plain highdicom, BINARY"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A SEG as a Part 10 file: its time, the frames in it, and the memory that it took.

    ``peak_bytes`` is the most resident memory of the process over what it had with the series
    and the label map read; ``volume_bytes`` is the size of the series in float32.
    """

    seconds: float
    frames: int
    size_bytes: int
    peak_bytes: int
    volume_bytes: int


def written(folder: Path, rounds: int) -> dict[Way, list[Written]]:
    """Write the SEG of a series in each way, in each round.

    Raises:
        BenchmarkFailed: a process did not end well, or wrote other frames.
    """
    found: dict[Way, list[Written]] = {way: [] for way in Way}
    for _ in range(rounds):
        for way in Way:
            found[way].append(_in_process(way, folder))
        if found[Way.BINARY][-1].frames != found[Way.HIGHDICOM][-1].frames:
            raise BenchmarkFailed("the gateway's SEG has other frames than highdicom's")
    return found


def seconds(rounds: Sequence[Written]) -> float:
    """Return the median time."""
    return median(one.seconds for one in rounds)


def ratio(rounds: Sequence[Written], others: Sequence[Written]) -> float:
    """Return the median of the rounds' ratios of time."""
    return median(one.seconds / other.seconds for one, other in zip(rounds, others, strict=True))


def organs(shape: tuple[int, int, int], classes: int = CLASSES) -> LabelMap:
    """Label so many ellipsoids that lie in the body as organs do: many in each slice, apart."""
    label_map = np.zeros(shape, dtype=np.uint8)
    down, across = 4, 4
    along = -(-classes // (down * across))
    cell = np.array(shape) / (along, down, across)
    z, y, x = (np.arange(int(size)) + 0.5 for size in cell)
    inside = sum(
        ((axis / size - 0.5) / 0.46).reshape(form) ** 2
        for axis, size, form in zip(
            (z, y, x), cell, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True
        )
    )
    shaped = np.asarray(inside) <= 1
    for label in range(1, classes + 1):
        place = np.unravel_index(label - 1, (along, down, across))
        first = (np.array(place) * cell).astype(int)
        box = tuple(slice(a, a + n) for a, n in zip(first, shaped.shape, strict=True))
        label_map[box][shaped] = label
    return label_map


def many_classes(folder: Path) -> Model:
    """Deploy a bundle whose descriptor names all classes; it is never run."""
    segments = tuple((f"Organ {label}", f"1000{label}") for label in range(1, CLASSES + 1))
    return zoo_bundle(folder, "many_classes", replace(SPLEEN, segments=segments))


def _in_process(way: Way, folder: Path) -> Written:
    command = [sys.executable, "-W", "ignore", "-m", __name__, way.name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkFailed(f"{way}: {done.stderr[-2000:]}")
    return Written(**json.loads(done.stdout))


def _gateway_labelmap(segmented: SegmentedVolume) -> bytes:
    return part10(label_map_segmentation(segmented, Form(output=Output.LABELMAP)).dataset)


def _gateway_binary(segmented: SegmentedVolume) -> bytes:
    [made] = segmentations(segmented, DEFAULT)
    return part10(made.dataset)


def _plain_highdicom(segmented: SegmentedVolume) -> bytes:
    """Write it as highdicom's documentation has it, from a label map."""
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="benchmark", version="1", family=codes.DCM.ArtificialIntelligence
    )
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"Organ {number}",
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Organ,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number in range(1, CLASSES + 1)
    ]
    made = highdicom.seg.Segmentation(
        source_images=segmented.volume.sources,
        pixel_array=segmented.label_map,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="benchmark",
        manufacturer_model_name="benchmark",
        software_versions="1",
        device_serial_number="1",
    )
    buffer = BytesIO()
    made.save_as(buffer)
    return buffer.getvalue()


_MAKERS: Mapping[Way, Callable[[SegmentedVolume], bytes]] = MappingProxyType(
    {
        Way.LABELMAP: _gateway_labelmap,
        Way.BINARY: _gateway_binary,
        Way.HIGHDICOM: _plain_highdicom,
    }
)


def _measured(way: Way, volume: SeriesVolume, model: Model) -> Written:
    """Write it twice: the first time also loads what is loaded once."""
    segmented = SegmentedVolume(
        volume=volume, label_map=organs(volume.geometry.shape), model=model, identity=IDENTITY
    )
    before = forget_peak()
    _MAKERS[way](segmented)
    started = time.perf_counter()
    file = _MAKERS[way](segmented)
    took = time.perf_counter() - started
    return Written(
        seconds=took,
        frames=int(dcmread(BytesIO(file), stop_before_pixels=True).NumberOfFrames),
        size_bytes=len(file),
        peak_bytes=peak_bytes(os.getpid()) - before,
        volume_bytes=volume.array.nbytes,
    )


def main() -> None:
    """Write one SEG in the way that the first argument names."""
    way, folder = Way[sys.argv[1]], Path(sys.argv[2])
    volume = read_series_volume(sorted(folder.iterdir()))
    with TemporaryDirectory(prefix="gateway-bench-") as models:
        print(json.dumps(asdict(_measured(way, volume, many_classes(Path(models))))))  # noqa: T201


if __name__ == "__main__":
    main()
