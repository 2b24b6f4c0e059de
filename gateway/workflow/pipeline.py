"""The durable workflows: a series is routed, and each of its jobs is carried out.

A workflow's every step is written to the workflow database before the next one starts
(DBOS Transact). A worker that is killed goes on, when it is started again, with the step it
was in; steps may therefore run twice, and each one gives the same result when it does.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypedDict

import structlog
from dbos import DBOS, DBOSConfiguredInstance, SetEnqueueOptions, SetWorkflowID

from gateway.errors import GatewayError, Rejected, StoreUnavailable
from gateway.inference import Priority
from gateway.store import Job, JobAction, JobState, NodeStore
from gateway.workflow.attempt import Attempt
from gateway.workflow.backoff import Backoff
from gateway.workflow.delivery import Deliverer
from gateway.workflow.exclusion import OneAtATime
from gateway.workflow.precedence import place_in_queue
from gateway.workflow.routing import Router, deliveries_of
from gateway.workflow.segmenting import Segmenter

_log = structlog.get_logger()

ROUTING_QUEUE = "routing"
SEGMENT_QUEUE = "segment"
_ROUTING_PAUSE_SECONDS = 10.0
_STOP_LOOK_SECONDS = 0.05
_DELIVERIES_PER_NODE = 4
_SEGMENTATIONS = 3
"""So many series at once: one is read and decoded, one computed, one's results are built.

Each holds a volume in memory. The computing itself waits in the line before its device.
"""


class _StepRetries(TypedDict):
    retries_allowed: bool
    max_attempts: int
    interval_seconds: float
    backoff_rate: float
    should_retry: Callable[[BaseException], bool]


_UNTIL_THE_INDEX_ANSWERS: _StepRetries = {
    "retries_allowed": True,
    "max_attempts": 1_000_000,
    "interval_seconds": 2.0,
    "backoff_rate": 1.0,
    "should_retry": lambda error: isinstance(error, StoreUnavailable),
}
"""A full disk or a busy index must not end a workflow: its job would stay open for ever."""
_PATIENCE_WITH_MODELS = Backoff(
    first_seconds=1, longest_seconds=10, give_up_seconds=math.inf, most_attempts=3
)
"""A model's process that ended is started anew at once; one that ends each time is given up."""


def delivery_queue(node: str) -> str:
    """Return the name of a node's own queue: a dead peer holds up nobody else."""
    return f"node:{node}"


@DBOS.dbos_class("Pipeline")
class Pipeline(DBOSConfiguredInstance):
    """The workflows of one node, with what their steps need."""

    def __init__(
        self,
        store: NodeStore,
        router: Router,
        segmenter: Segmenter,
        deliverer: Deliverer,
        patience: Backoff,
        priority_of: Callable[[str], Priority],
    ) -> None:
        super().__init__("node")
        self._store = store
        self._router = router
        self._segmenter = segmenter
        self._deliverer = deliverer
        self._patience_with_nodes = patience
        self._priority_of = priority_of
        self._revisions = OneAtATime()
        self._running: set[str] = set()
        self._may_begin = threading.Event()
        self._may_begin.set()

    def stop(self, drain_seconds: float) -> None:
        """Begin no further attempt, and wait for those that run.

        A workflow that waits stays as it is in the workflow database, for the next worker.
        """
        deadline = time.monotonic() + drain_seconds
        self._may_begin.clear()
        while self._running and time.monotonic() < deadline:
            time.sleep(_STOP_LOOK_SECONDS)

    def start_routing(self, series_instance_uid: str, revision: int) -> None:
        """Route a revision of a series, once however often this is called."""
        with SetWorkflowID(f"route:{series_instance_uid}:{revision}"):
            DBOS.enqueue_workflow(ROUTING_QUEUE, self.route, series_instance_uid, revision)

    def start_again(self, job: Job) -> None:
        """Carry out a job that was queued again."""
        self._start_job(self._description(job))

    @DBOS.workflow(name="route", max_recovery_attempts=None)
    def route(self, series_instance_uid: str, revision: int) -> None:
        """Ask the rules and start the jobs that follow."""
        jobs = self._decided(series_instance_uid, revision)
        while jobs is None:
            DBOS.sleep(_ROUTING_PAUSE_SECONDS)
            jobs = self._decided(series_instance_uid, revision)
        for job in jobs:
            self._start_job(job)

    @DBOS.workflow(name="segment", max_recovery_attempts=None)
    def segment(self, job_id: str) -> None:
        """Run a model on a series, then send what it made to each node."""
        self._carry_out(job_id)
        for job in self._deliveries(job_id):
            self._start_job(job)

    @DBOS.workflow(name="deliver", max_recovery_attempts=None)
    def deliver(self, job_id: str) -> None:
        """Send instances to a node until it has confirmed all of them."""
        self._carry_out(job_id)

    def _carry_out(self, job_id: str) -> None:
        """Try until the job has ended, with durable pauses in between."""
        while (pause_seconds := self._tried(job_id)) > 0:
            DBOS.sleep(pause_seconds)

    @DBOS.step(name="decide")
    def _decided(self, series_instance_uid: str, revision: int) -> list[dict[str, Any]] | None:
        """Return the jobs of a revision, or nothing where routing broke and is tried again."""
        try:
            jobs = self._router.route(series_instance_uid, revision)
        except Exception:  # noqa: BLE001 - the workflow's outermost layer
            _log.exception(
                "routing_failed", series_instance_uid=series_instance_uid, revision=revision
            )
            return None
        return [self._description(job) for job in jobs]

    @DBOS.step(name="attempt", **_UNTIL_THE_INDEX_ANSWERS)
    def _tried(self, job_id: str) -> float:
        """Make one attempt; return the pause before the next, or 0 when the job has ended."""
        # Cleared by `stop`, and never set again: this thread then ends with its process.
        self._may_begin.wait()
        job = self._store.jobs.started(job_id)
        if job is None:
            return 0.0
        with self._noted(job):
            return self._ended(job, self._limited(job, self._attempt(job)))

    @contextmanager
    def _noted(self, job: Job) -> Iterator[None]:
        self._running.add(job.id)
        try:
            yield
        finally:
            self._running.discard(job.id)

    def _ended(self, job: Job, attempt: Attempt) -> float:
        self._store.jobs.ended(
            job.id,
            attempt.state,
            error=attempt.error,
            warning=attempt.warning,
            followed_by=deliveries_of(job) if attempt.state is JobState.DONE else (),
            results=list(attempt.results),
            segments=list(attempt.segments),
            timings_ms=dict(attempt.timings_ms),
            waits_beyond=attempt.waits_beyond,
            **_looking_again(job, attempt),
        )
        if attempt.again_in_seconds is None or attempt.state is not JobState.WAITING:
            is_well = attempt.state is JobState.DONE and not attempt.warning
            log = _log.info if is_well else _log.warning
            told = {"error": attempt.error, "warning": attempt.warning}
            log(f"job_{attempt.state}", **_context(job), **told)
        if attempt.state is not JobState.WAITING or attempt.leaves_queue:
            return 0.0  # the watch starts it again when what it waits for is here
        return self._patience(job).pause_seconds(job.attempts)

    def _attempt(self, job: Job) -> Attempt:
        """Carry a job out; whatever happens becomes a state and a reason."""
        try:
            return self._worked(job)
        except Rejected as error:
            return Attempt(state=JobState.REFUSED, error=str(error))
        except GatewayError as error:
            state = JobState.WAITING if error.retry_helps else JobState.DEAD
            return Attempt(state=state, error=str(error), results=job.results)
        except Exception as error:  # noqa: BLE001 - the job's outermost layer
            _log.exception("job_broke", **_context(job))
            reason = f"internal error ({type(error).__name__}); the log has the details"
            return Attempt(state=JobState.DEAD, error=reason, results=job.results)

    def _worked(self, job: Job) -> Attempt:
        if job.action is not JobAction.SEGMENT:
            return self._deliverer.attempt(job)
        # A newer revision's result refers to the older one's, which must be there then.
        with self._revisions.turn((job.series_instance_uid, job.rule, job.model)):
            return self._segmenter.attempt(job)

    def _limited(self, job: Job, attempt: Attempt) -> Attempt:
        """Give up what waits for too long."""
        is_over = self._patience(job).gives_up(job.attempts, time.time() - job.queued_at)
        if attempt.state is JobState.WAITING and attempt.waits_until is None and is_over:
            return replace(attempt, state=JobState.DEAD, error=f"given up: {attempt.error}")
        return attempt

    def _patience(self, job: Job) -> Backoff:
        is_model = job.action is JobAction.SEGMENT
        return _PATIENCE_WITH_MODELS if is_model else self._patience_with_nodes

    @DBOS.step(name="plan-deliveries", **_UNTIL_THE_INDEX_ANSWERS)
    def _deliveries(self, job_id: str) -> list[dict[str, Any]]:
        job = self._store.jobs.get(job_id)
        if job.state is not JobState.DONE:
            return []
        deliveries = deliveries_of(job)
        self._store.jobs.add(deliveries)
        return [self._description(delivery) for delivery in deliveries]

    def _start_job(self, job: Mapping[str, Any]) -> None:
        """Queue a job's workflow under its id, so that it is queued once."""
        with SetWorkflowID(f"job:{job['id']}:{job['generation']}"):
            if job["action"] == JobAction.SEGMENT:
                # What an earlier version described has no place: it comes before all others.
                with SetEnqueueOptions(priority=job.get("place")):
                    DBOS.enqueue_workflow(SEGMENT_QUEUE, self.segment, job["id"])
            else:
                DBOS.enqueue_workflow(delivery_queue(job["node"]), self.deliver, job["id"])

    def _description(self, job: Job) -> dict[str, Any]:
        """Return what a workflow keeps of a job; its place in the queue is decided here.

        A job that its rule has only just made does not know yet when it was queued.
        """
        description = {
            "id": job.id,
            "generation": job.generation,
            "action": str(job.action),
            "node": job.node,
        }
        if job.action is JobAction.SEGMENT:
            priority = self._priority_of(job.model or "")
            description["place"] = place_in_queue(priority, job.queued_at or time.time())
        return description


def register_queues(nodes: Iterable[str], poll_seconds: float) -> None:
    """Make the queues: routing, one for models, and one per node."""
    DBOS.register_queue(ROUTING_QUEUE, worker_concurrency=8, polling_interval_sec=poll_seconds)
    DBOS.register_queue(
        SEGMENT_QUEUE, worker_concurrency=_SEGMENTATIONS, polling_interval_sec=poll_seconds
    )
    for node in nodes:
        DBOS.register_queue(
            delivery_queue(node),
            worker_concurrency=_DELIVERIES_PER_NODE,
            polling_interval_sec=poll_seconds,
        )


def _looking_again(job: Job, attempt: Attempt) -> dict[str, Any]:
    """Return until when a job waits; a look at what others do is no attempt of its own."""
    if attempt.again_in_seconds is None:
        return {"waits_until": attempt.waits_until}
    return {
        "waits_until": time.time() + attempt.again_in_seconds,
        "attempts": job.attempts - 1,
    }


def _context(job: Job) -> dict[str, Any]:
    """Return what a log line says of a job."""
    return {
        "job": job.id,
        "action": str(job.action),
        "node": job.node,
        "model": job.model,
        "series_instance_uid": job.series_instance_uid,
        "attempt": job.attempts,
    }
