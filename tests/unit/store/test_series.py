"""What state a series is in, and what was decided about it."""

import time

import pytest

from gateway.errors import NotFound
from gateway.store import Job, JobAction, JobState, NodeStore, SeriesState
from gateway.store.series import record_decision
from tests.unit.store.completing import complete
from tests.unit.store.samples import SERIES, offer, origin


def receive(store: NodeStore, *, number: int = 1) -> None:
    store.intake.keep(offer(number), origin())


def routed(store: NodeStore, revision: int, *jobs: str) -> None:
    """Note that the rules asked for these jobs."""
    store.jobs.add([job(name, revision) for name in jobs])
    with store.database.writing() as connection:
        record_decision(connection, SERIES, revision, "digest", [{"rule": "r", "matched": True}])


def job(name: str, revision: int = 1) -> Job:
    return Job(
        id=name,
        series_instance_uid=SERIES,
        revision=revision,
        rule="r",
        action=JobAction.FORWARD,
        node="pacs",
    )


def state(store: NodeStore) -> SeriesState:
    """Return the series' state, which the counts of all states must agree with."""
    found = store.series.get(SERIES).state
    assert store.series.state_counts() == {str(one): int(one is found) for one in SeriesState}
    assert [one.state for one in store.series.all()] == [found]
    return found


class TestStates:
    """receiving, complete, done, failed."""

    @pytest.fixture(autouse=True)
    def _received(self, store: NodeStore) -> None:
        receive(store)
        assert state(store) is SeriesState.RECEIVING
        complete(store)

    def test_complete_until_the_rules_were_asked(self, store: NodeStore) -> None:
        assert state(store) is SeriesState.COMPLETE
        assert store.series.unrouted() == ((SERIES, 1),)

    def test_done_when_no_rule_asks_for_anything(self, store: NodeStore) -> None:
        routed(store, 1)
        assert state(store) is SeriesState.DONE
        assert store.series.unrouted() == ()

    def test_complete_while_a_job_is_open(self, store: NodeStore) -> None:
        routed(store, 1, "a", "b")
        assert state(store) is SeriesState.COMPLETE
        store.jobs.ended("a", JobState.DONE)
        assert state(store) is SeriesState.COMPLETE
        store.jobs.ended("b", JobState.WAITING)
        assert state(store) is SeriesState.COMPLETE

    def test_done_when_every_job_is_done(self, store: NodeStore) -> None:
        routed(store, 1, "a", "b")
        for name in ("a", "b"):
            store.jobs.ended(name, JobState.DONE)
        assert state(store) is SeriesState.DONE

    @pytest.mark.parametrize("ending", [JobState.REFUSED, JobState.DEAD])
    def test_failed_when_a_job_ended_badly(self, store: NodeStore, ending: JobState) -> None:
        routed(store, 1, "a", "b")
        store.jobs.ended("a", ending, error="why")
        assert state(store) is SeriesState.COMPLETE
        store.jobs.ended("b", JobState.DONE)
        assert state(store) is SeriesState.FAILED

    def test_complete_again_when_a_person_retries(self, store: NodeStore) -> None:
        routed(store, 1, "a")
        store.jobs.ended("a", JobState.DEAD)
        store.jobs.retry("a")
        assert state(store) is SeriesState.COMPLETE

    def test_an_older_revisions_failure_is_history(self, store: NodeStore) -> None:
        routed(store, 1, "a")
        store.jobs.ended("a", JobState.REFUSED)
        receive(store, number=2)
        assert state(store) is SeriesState.RECEIVING
        complete(store)
        assert store.series.unrouted() == ((SERIES, 2),)
        routed(store, 2, "b")
        store.jobs.ended("b", JobState.DONE)
        assert state(store) is SeriesState.DONE

    def test_the_latest_decision_is_shown(self, store: NodeStore) -> None:
        assert store.series.decision(SERIES) == []
        routed(store, 1)
        assert store.series.decision(SERIES) == [{"rule": "r", "matched": True}]

    def test_a_revision_is_decided_once(self, store: NodeStore) -> None:
        routed(store, 1)
        with store.database.writing() as connection:
            record_decision(connection, SERIES, 1, "other rules", [{"rule": "x"}])
        assert store.series.decision(SERIES) == [{"rule": "r", "matched": True}]

    def test_an_older_decision_that_is_repeated_late_does_not_hide_the_newer_revision(
        self, store: NodeStore
    ) -> None:
        receive(store, number=2)
        complete(store)
        routed(store, 2)
        routed(store, 1)
        assert store.series.unrouted() == ()


def test_the_last_active_series_comes_first(store: NodeStore) -> None:
    for uid in ("2.25.10", "2.25.11", "2.25.10"):
        store.intake.keep(offer(1, series=uid), origin())
        time.sleep(0.002)
        store.intake.keep(offer(2, series=uid), origin())
    assert store.series.all()[0].series_instance_uid == "2.25.11"
    assert len(store.series.all(limit=1)) == 1


def test_an_unknown_series_is_not_found(store: NodeStore) -> None:
    with pytest.raises(NotFound, match=r"no series 1\.2\.3 is known"):
        store.series.get("1.2.3")
    assert store.series.decision("1.2.3") == []


def test_an_empty_node_counts_zero_in_every_state(store: NodeStore) -> None:
    assert store.series.state_counts() == {"receiving": 0, "complete": 0, "done": 0, "failed": 0}
