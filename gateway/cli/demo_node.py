"""The demo's node: a real ``gateway serve`` in a temporary folder."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.cli.common import console
from gateway.cli.demo_cloud import NAME, DemoCloud, HeldImageSet, write_rules
from gateway.cli.transfer import files_under, outgoing_of
from gateway.dimse.user import SendOutcome, send
from gateway.errors import NotFound, PeerUnavailable, Permanent, StoreUnavailable
from gateway.settings import DimseNode, Settings, load_settings
from gateway.shipped import shipped
from gateway.store import Job, JobAction, NodeStore, Series, SeriesState, open_store
from gateway.store.jobs import ENDED_BADLY
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series

_START_SECONDS = 120
_RESULT_SECONDS = 900
_STOP_SECONDS = 40
_POLL_SECONDS = 0.1
_PHANTOM_SLICES = 40
_SETTINGS = """\
[node]
data_dir = "data"
rules_dir = {rules!r}
models_dir = {models!r}
reserve_gb = 0.2
[dimse]
bind = "127.0.0.1"
port = 0
receivers = 1
quiet_seconds = 1
[web]
port = 0
[nodes.pacs]
kind = "dimse"
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One line of the timing table."""

    name: str
    seconds: float
    ends_section: bool = False


class DemoNode:
    """Runs a node for the time of a ``with`` block, and watches one series go through it."""

    def __init__(self, folder: Path, pacs_port: int, cloud: DemoCloud | None = None) -> None:
        self._folder = folder
        self._pacs_port = pacs_port
        self._cloud = cloud
        self._console: Console = console()
        self._stages: list[Stage] = []
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        cloud = self._cloud
        rules = shipped("routing_rules") if cloud is None else write_rules(self._folder)
        settings = _SETTINGS.format(
            rules=str(rules), models=str(shipped("models")), port=self._pacs_port
        )
        self._file = self._folder / "gateway.toml"
        self._file.write_text(settings + ("" if cloud is None else cloud.settings))
        self._settings: Settings = load_settings(self._file, {})
        self._started = time.monotonic()
        log = self._cleanup.enter_context((self._folder / "node.log").open("wb"))
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(self._file)]
        environment = None if cloud is None else cloud.environment
        self._process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._cleanup.close()

    def prepare_series(self, source: Path | None) -> list[Path]:
        """Return the files to send: those of a folder, or a phantom scanned now.

        Raises:
            NotFound: the folder holds no DICOM.
        """
        if source is not None:
            files = [path for path in files_under([source]) if _is_dicom(path)]
            if not files:
                raise NotFound(f"no DICOM files under {source}")
            return files
        started = time.monotonic()
        with self._console.status("scanning a phantom"):
            files = write_series(
                scan(Anatomy.torso(), Acquisition(slices=_PHANTOM_SLICES)), self._folder / "phantom"
            )
        self._note("phantom scanned (while the node starts)", started)
        return files

    def wait_until_ready(self) -> None:
        """Wait until every process of the node is ready.

        Raises:
            PeerUnavailable: the node did not start.
        """
        index = self._settings.node.data_dir / "index.sqlite"
        with self._console.status("starting the node"):
            self._wait(index.exists, _START_SECONDS, "the node did not start")
            self._store: NodeStore = self._cleanup.enter_context(
                closing(open_store(self._settings))
            )
            self._wait(self._is_ready, _START_SECONDS, "the node did not start")
        self._note("node started", self._started, ends_section=True)

    def send(self, files: Sequence[Path]) -> None:
        """Send files to the node as a modality would.

        Raises:
            Permanent: the node did not take one of them.
        """
        started = time.monotonic()
        target = DimseNode(
            kind="dimse", ae_title="GATEWAY", host="127.0.0.1", port=self._dimse_port()
        )
        outgoing = [one for one in map(outgoing_of, files) if one is not None]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=self._console) as progress:
            task = progress.add_task("C-STORE to the node", total=len(outgoing))
            results = send(target, "SCANNER", outgoing, lambda _: progress.advance(task))
        failed = [one for one in results if one.outcome is not SendOutcome.STORED]
        if failed:
            raise Permanent(f"the node refused {len(failed)} instances: {failed[0].detail}")
        self._note(f"sent, kept and acknowledged: {len(results)} instances", started)

    def wait_for_result(self, arrived: Callable[[], Path | None]) -> Path | None:
        """Wait until the result is at the PACS, or it is clear that none will come.

        Raises:
            Permanent: no rule took a series, or a job was refused or given up.
        """
        deadline = time.monotonic() + _RESULT_SECONDS
        with self._console.status("waiting for the segmentation") as status:
            while time.monotonic() < deadline:
                seg = arrived()
                if seg is not None:
                    return seg
                self._require_hope()
                status.update(self._progress())
        return None

    def wait_until_confirmed(self) -> None:
        """Wait until the node noted that the PACS has the result, and the cloud everything.

        Raises:
            Permanent: a job was refused or given up.
        """
        with self._console.status("waiting for confirmation"):
            self._wait(self._is_confirmed, _START_SECONDS, "the delivery was not confirmed")

    def image_sets(self) -> list[HeldImageSet]:
        """Return what is in the data store; nothing where there is none."""
        return [] if self._cloud is None else self._cloud.image_sets(self._file, self._store)

    def stages(self) -> list[Stage]:
        """Return the timing table, from sending to confirmation."""
        job = self._jobs(JobAction.SEGMENT)[0]
        delivered = {
            one.node: one.updated_at
            for one in self._jobs(JobAction.DELIVER)
            if one.parent_id == job.id
        }
        series = self._store.series.get(job.series_instance_uid)
        completed_at = series.completed_at or series.last_activity_at
        timings = job.timings_ms or {}
        inside = sum(timings.values()) / 1000
        return [
            *self._stages,
            Stage(name="held complete", seconds=completed_at - series.last_activity_at),
            Stage(name="routed by the rules", seconds=job.created_at - completed_at),
            *(
                Stage(name=f"segmented: {stage}", seconds=ms / 1000)
                for stage, ms in timings.items()
            ),
            Stage(
                name="segmented: queue, hand-over, keeping the SEG",
                seconds=job.updated_at - job.created_at - inside,
            ),
            Stage(
                name="SEG delivered and confirmed",
                seconds=delivered["pacs"] - job.updated_at,
                ends_section=True,
            ),
            Stage(
                name="last instance kept -> SEG at the PACS",
                seconds=delivered["pacs"] - series.last_activity_at,
                ends_section=True,
            ),
            *self._cloud_stages(job, delivered),
        ]

    def _cloud_stages(self, segment: Job, delivered: Mapping[str | None, float]) -> Iterator[Stage]:
        """Return how long the way to the data store took: until it lists every instance."""
        for job in self._jobs(JobAction.FORWARD):
            if job.series_instance_uid == segment.series_instance_uid:
                seconds = job.updated_at - job.created_at
                yield Stage(
                    name="series in the data store, beside the segmentation", seconds=seconds
                )
        if NAME in delivered:
            seconds = delivered[NAME] - segment.updated_at
            yield Stage(name="SEG in the data store", seconds=seconds)

    def segments(self) -> list[dict[str, Any]]:
        """Return the segments that the model found."""
        return [dict(one) for one in self._jobs(JobAction.SEGMENT)[0].segments]

    def _note(self, name: str, since: float, *, ends_section: bool = False) -> None:
        seconds = time.monotonic() - since
        self._stages.append(Stage(name=name, seconds=seconds, ends_section=ends_section))

    def _wait(self, condition: Callable[[], bool], seconds: float, message: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self._process.poll() is not None:
                log = (self._folder / "node.log").read_text()[-2000:]
                raise PeerUnavailable(f"{message}; the end of its log:\n{log}")
            time.sleep(_POLL_SECONDS)

    def _is_confirmed(self) -> bool:
        self._require_hope()
        done = {job.node for job in self._jobs(JobAction.DELIVER) if job.state == "done"}
        if self._cloud is None:
            return bool(done)
        return "pacs" in done and all(job.state == "done" for job in self._store.jobs.all())

    def _is_ready(self) -> bool:
        try:
            known = {process.name for process in self._store.processes.all()}
        except StoreUnavailable:
            # The index is there before its first migration has run.
            return False
        return {"receiver-0", "web", "worker"} <= known

    def _dimse_port(self) -> int:
        [receiver] = [one for one in self._store.processes.all() if one.name == "receiver-0"]
        return int(receiver.detail["port"])

    def _received(self) -> list[Series]:
        return [one for one in self._store.series.all() if one.source != "result"]

    def _jobs(self, action: JobAction) -> list[Job]:
        return [job for job in self._store.jobs.all() if job.action is action]

    def _require_hope(self) -> None:
        for job in self._store.jobs.all():
            if job.state in ENDED_BADLY:
                raise Permanent(f"{job.action} was {job.state}: {job.error}")
        series = self._received()
        ended = (SeriesState.DONE, SeriesState.FAILED)
        if series and all(one.state in ended for one in series) and not self._store.jobs.all():
            raise Permanent("no rule took the series:\n" + self._reasons(series))

    def _reasons(self, series: Sequence[Series]) -> str:
        return "\n".join(
            f"  {outcome['rule']}: {'; '.join(outcome['reasons'])}"
            for one in series
            for outcome in self._store.series.decision(one.series_instance_uid)
        )

    def _progress(self) -> str:
        jobs = {job.action: job.state for job in self._store.jobs.all()}
        if JobAction.DELIVER in jobs:
            return "sending the SEG to the PACS"
        if JobAction.SEGMENT in jobs:
            return f"segmenting ({jobs[JobAction.SEGMENT]})"
        return "waiting until the series is complete"


def _is_dicom(path: Path) -> bool:
    try:
        read_file_meta_info(path)
    except (InvalidDicomError, EOFError):
        return False
    return True
