"""What decoding, segmenting and writing a series take: the parts of ``inference``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.inference import Model
from gateway.inference.volume import only_plan
from tests.bench.decoding import Decoded, decoded
from tests.bench.inference_report import InferenceReport
from tests.bench.machine import device_name, machine, version
from tests.bench.result_objects import Way, Written, written
from tests.bench.scans import compressed
from tests.bench.segmenting import Job, Stream, WarmGateway, spleen

_WRITTEN_SLICES = 300
_PROGRAMS = ("gateway", "monai", "torch", "highdicom", "pylibjpeg-openjpeg")


class Part(StrEnum):
    """What can be measured by itself."""

    DECODE = "decode"
    BUNDLE = "bundle"
    OBJECTS = "objects"


@dataclass(frozen=True, kw_only=True, slots=True)
class InferencePlan:
    """What is measured: parts, rounds, jobs of the stream, and where models run.

    ``device`` is None for what the bundle takes, which ``deploy`` makes in a folder.
    ``written_slices`` is the size of the SEG.
    """

    parts: frozenset[Part]
    rounds: int
    jobs: int
    device: str | None = None
    deploy: Callable[[Path], Model] = spleen
    written_slices: int = _WRITTEN_SLICES

    def carried_out(
        self, paths: Sequence[Path], folder: Path, scan: Callable[[Path, int], object]
    ) -> InferenceReport:
        """Measure on the files of one series; ``scan`` makes one of so many slices in a folder.

        Raises:
            BenchmarkFailed: two that must find or write the same do not.
        """
        jobs, stream = self._segmented(paths, folder)
        return InferenceReport(
            machine=machine(folder),
            versions={name: version(name) for name in _PROGRAMS},
            shape=only_plan(paths).geometry.shape,
            device=device_name(self.device),
            rounds=self.rounds,
            decoded=self._decoded(paths, folder),
            jobs=jobs,
            stream=stream,
            written=self._written(folder, scan),
            written_slices=self.written_slices,
        )

    def _decoded(self, paths: Sequence[Path], folder: Path) -> Sequence[Decoded]:
        if Part.DECODE not in self.parts:
            return ()
        return list(decoded(compressed(paths, folder / "compressed"), self.rounds))

    def _segmented(
        self, paths: Sequence[Path], folder: Path
    ) -> tuple[Sequence[Job], Stream | None]:
        if Part.BUNDLE not in self.parts:
            return (), None
        with WarmGateway(self.deploy(folder / "models"), self.device) as gateway:
            jobs = list(gateway.jobs(paths, folder, self.rounds))
            return jobs, gateway.stream(paths, self.jobs) if self.jobs else None

    def _written(
        self, folder: Path, scan: Callable[[Path, int], object]
    ) -> dict[Way, list[Written]]:
        if Part.OBJECTS not in self.parts:
            return {}
        scan(folder / "written", self.written_slices)
        return written(folder / "written", self.rounds)
