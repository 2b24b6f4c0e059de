"""What the rules say of a series, written down together with the jobs that follow from it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import structlog

from gateway.rules import Decision, Forward, RuleSet, Segment
from gateway.store import IdentityChange, Job, JobAction, NodeStore
from gateway.store.jobs import ENDED_BADLY, add_jobs
from gateway.store.series import record_decision
from gateway.workflow.facts import facts_of

_log = structlog.get_logger()


class Router:
    """Asks the rules in force about complete series."""

    def __init__(self, store: NodeStore, rules_in_force: Callable[[], RuleSet]) -> None:
        self._store = store
        self._rules_in_force = rules_in_force

    def route(self, series_instance_uid: str, revision: int) -> tuple[Job, ...]:
        """Decide a revision of a series and enter its jobs; a repetition gives the same jobs."""
        rules = self._rules_in_force()
        series = self._store.series.get(series_instance_uid)
        decision = rules.decide(
            facts_of(self._store, series, rules.keywords),
            ran_before=self._ran_before(series_instance_uid, revision),
        )
        jobs = jobs_of(decision, series_instance_uid, revision)
        with self._store.database.writing() as connection:
            is_first = record_decision(
                connection, series_instance_uid, revision, rules.digest, decision.to_json()
            )
            if is_first:
                add_jobs(connection, jobs)
        if not is_first:
            return self._decided_before(series_instance_uid, revision)
        _log.info(
            "series_routed",
            series_instance_uid=series_instance_uid,
            revision=revision,
            rules=sorted({job.rule for job in jobs}),
            jobs=[job.id for job in jobs],
        )
        return jobs

    def may_segment(
        self, series_instance_uid: str, modalities: Mapping[str, Sequence[str]]
    ) -> bool:
        """Tell whether a rule would have a series segmented if what is here of it were all.

        ``modalities`` are those that each model takes. Nothing is decided by that.
        """
        rules = self._rules_in_force()
        series = self._store.series.get(series_instance_uid)
        takers = {model for model, taken in modalities.items() if series.modality in taken}
        if not takers & rules.models:
            return False
        return any(
            isinstance(chosen.action, Segment) and chosen.action.model in takers
            for chosen in rules.decide(facts_of(self._store, series, rules.keywords)).actions
        )

    def _ran_before(self, series_instance_uid: str, revision: int) -> frozenset[str]:
        """Return the rules that gave an earlier revision something, or still may.

        A rule whose jobs all ended badly did not run: the late instances may be what it lacked.
        """
        return frozenset(
            job.rule
            for job in self._store.jobs.of_series(series_instance_uid)
            if job.revision < revision and job.parent_id is None and job.state not in ENDED_BADLY
        )

    def _decided_before(self, series_instance_uid: str, revision: int) -> tuple[Job, ...]:
        return tuple(
            job
            for job in self._store.jobs.of_series(series_instance_uid)
            if job.revision == revision and job.parent_id is None
        )


def jobs_of(decision: Decision, series_instance_uid: str, revision: int) -> tuple[Job, ...]:
    """Return one job per action and node; the same decision always gives the same ids."""
    jobs = []
    for chosen in decision.actions:
        match chosen.action:
            case Segment(model=model, send_to=send_to):
                jobs.append(
                    Job(
                        id=job_id(series_instance_uid, revision, chosen.rule, chosen.index),
                        series_instance_uid=series_instance_uid,
                        revision=revision,
                        rule=chosen.rule,
                        action=JobAction.SEGMENT,
                        model=model,
                        send_to=tuple(send_to),
                    )
                )
            case Forward(to=nodes) as forward:
                jobs.extend(
                    Job(
                        id=job_id(series_instance_uid, revision, chosen.rule, chosen.index, node),
                        series_instance_uid=series_instance_uid,
                        revision=revision,
                        rule=chosen.rule,
                        action=JobAction.FORWARD,
                        node=node,
                        identity_change=_identity_change(forward),
                    )
                    for node in nodes
                )
    return tuple(jobs)


def _identity_change(forward: Forward) -> IdentityChange | None:
    if forward.deidentify == "basic":
        return IdentityChange.DEIDENTIFY_BASIC
    return IdentityChange.REIDENTIFY if forward.reidentify else None


def deliveries_of(segment: Job) -> tuple[Job, ...]:
    """Return the jobs that send a ``segment`` job's results, one per node."""
    return tuple(
        Job(
            id=job_id(segment.id, "deliver", node),
            series_instance_uid=segment.series_instance_uid,
            revision=segment.revision,
            parent_id=segment.id,
            rule=segment.rule,
            action=JobAction.DELIVER,
            node=node,
            model=segment.model,
        )
        for node in segment.send_to
    )


def job_id(*parts: object) -> str:
    """Return the id that these parts always give: short enough to type."""
    text = "\x1f".join(map(str, parts))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
