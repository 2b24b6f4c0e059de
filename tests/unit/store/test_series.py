"""When a series is complete, and what state it is in."""

import time

import pytest

from gateway.errors import NotFound
from gateway.store import Job, JobAction, JobState, NodeStore, SeriesState
from gateway.store.series import record_decision
from tests.unit.store.samples import SERIES, offer, origin


def receive(store: NodeStore, association: str | None = None, *, number: int = 1) -> None:
    store.intake.keep(offer(number), origin(association))


def opened(store: NodeStore, association: str, receiver: str = "receiver-0") -> None:
    store.associations.opened(association, receiver, origin(association), "10.0.0.5")


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


class TestCompletion:
    """Associations ended and quiet: only then."""

    def test_a_series_is_receiving_until_it_was_quiet_for_long_enough(
        self, store: NodeStore
    ) -> None:
        receive(store)
        assert store.series.complete_quiet_ones(3600) == 0
        assert state(store) is SeriesState.RECEIVING

    def test_a_quiet_series_without_associations_is_complete(self, store: NodeStore) -> None:
        receive(store)

        assert store.series.complete_quiet_ones(0) == 1

        series = store.series.get(SERIES)
        assert (series.state, series.revision) == (SeriesState.COMPLETE, 1)
        assert series.completed_because == "its associations ended, then 0 s of quiet"
        assert series.completed_at is not None

    def test_an_open_association_holds_its_series_however_quiet_it_is(
        self, store: NodeStore
    ) -> None:
        opened(store, "a")
        receive(store, "a")

        assert store.series.complete_quiet_ones(0) == 0

        store.associations.closed("a", "released")
        assert store.series.complete_quiet_ones(0) == 1

    def test_every_association_that_brought_an_instance_must_have_ended(
        self, store: NodeStore
    ) -> None:
        for name in ("a", "b"):
            opened(store, name)
        receive(store, "a", number=1)
        receive(store, "b", number=2)
        store.associations.closed("a", "aborted")
        assert store.series.complete_quiet_ones(0) == 0

        store.associations.closed("b", "released")
        assert store.series.complete_quiet_ones(0) == 1

    def test_another_series_open_association_does_not_matter(self, store: NodeStore) -> None:
        opened(store, "a")
        opened(store, "b")
        receive(store, "a")
        store.intake.keep(offer(1, series="2.25.99"), origin("b"))
        store.associations.closed("a", "released")

        assert store.series.complete_quiet_ones(0) == 1

        assert store.series.get("2.25.99").state is SeriesState.RECEIVING

    def test_the_quiet_time_begins_when_the_association_ends(self, store: NodeStore) -> None:
        opened(store, "a")
        receive(store, "a")
        time.sleep(0.3)
        store.associations.closed("a", "released")

        assert store.series.complete_quiet_ones(0.25) == 0
        time.sleep(0.3)
        assert store.series.complete_quiet_ones(0.25) == 1

    def test_a_killed_receivers_associations_are_closed_when_it_starts_again(
        self, store: NodeStore
    ) -> None:
        for name, receiver in (("a", "receiver-0"), ("b", "receiver-0"), ("c", "receiver-1")):
            opened(store, name, receiver)
        receive(store, "a")
        store.intake.keep(offer(1, series="2.25.99"), origin("c"))

        assert store.associations.lost("receiver-0") == 2

        assert store.series.complete_quiet_ones(0) == 1
        assert state_of(store, "2.25.99") is SeriesState.RECEIVING
        assert store.associations.lost("receiver-0") == 0

    def test_a_duplicate_alone_still_waits_for_its_association(self, store: NodeStore) -> None:
        receive(store)
        opened(store, "a")
        receive(store, "a")
        assert store.series.complete_quiet_ones(0) == 0

    def test_each_completion_is_a_revision(self, store: NodeStore) -> None:
        for number in (1, 2, 3):
            receive(store, number=number)
            assert store.series.complete_quiet_ones(0) == 1
            assert store.series.complete_quiet_ones(0) == 0
            assert store.series.get(SERIES).revision == number


def state_of(store: NodeStore, uid: str) -> SeriesState:
    return store.series.get(uid).state


class TestStates:
    """receiving, complete, done, failed."""

    @pytest.fixture(autouse=True)
    def _received(self, store: NodeStore) -> None:
        receive(store)
        assert state(store) is SeriesState.RECEIVING
        store.series.complete_quiet_ones(0)

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
        store.series.complete_quiet_ones(0)
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
        store.series.complete_quiet_ones(0)
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
