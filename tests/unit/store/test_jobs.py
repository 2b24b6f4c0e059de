"""Jobs: from queued to their end, once, unless a person says again."""

import time
from dataclasses import replace

import pytest

from gateway.errors import NotFound
from gateway.store import Job, JobAction, JobState, NodeStore
from tests.unit.store.completing import complete
from tests.unit.store.samples import SERIES, STUDY, offer, origin


def job(name: str = "a", action: JobAction = JobAction.FORWARD) -> Job:
    return Job(
        id=name,
        series_instance_uid="2.25.2",
        revision=1,
        rule="r",
        action=action,
        node="pacs",
        send_to=("pacs", "vna"),
    )


OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING)
ENDED = (JobState.DONE, JobState.REFUSED, JobState.DEAD)


def brought_to(store: NodeStore, state: JobState) -> None:
    """Enter a job and bring it to a state."""
    store.jobs.add([job()])
    if state is not JobState.QUEUED:
        store.jobs.started("a")
    if state not in (JobState.QUEUED, JobState.RUNNING):
        store.jobs.ended("a", state, error="why")
    assert store.jobs.get("a").state is state


def test_a_new_job_is_queued_as_it_was_described(store: NodeStore) -> None:
    store.jobs.add([job()])

    found = store.jobs.get("a")

    assert (found.state, found.attempts, found.generation) == (JobState.QUEUED, 0, 0)
    assert (found.rule, found.node, found.send_to) == ("r", "pacs", ("pacs", "vna"))
    assert abs(found.created_at - time.time()) < 60


@pytest.mark.parametrize("state", [*OPEN, *ENDED])
def test_entering_a_job_again_leaves_it_as_it_is(store: NodeStore, state: JobState) -> None:
    brought_to(store, state)
    before = store.jobs.get("a")
    store.jobs.add([job()])
    assert store.jobs.get("a") == before


@pytest.mark.parametrize("state", OPEN)
def test_an_open_job_starts_and_counts_the_attempt(store: NodeStore, state: JobState) -> None:
    brought_to(store, state)
    before = store.jobs.get("a").attempts

    started = store.jobs.started("a")

    assert started is not None
    assert (started.state, started.attempts) == (JobState.RUNNING, before + 1)


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_job_does_not_start(store: NodeStore, state: JobState) -> None:
    brought_to(store, state)
    assert store.jobs.started("a") is None
    assert store.jobs.get("a").state is state


def test_an_end_keeps_what_the_attempt_gave(store: NodeStore) -> None:
    brought_to(store, JobState.RUNNING)
    segments = [{"label": "Lung", "voxels": 3, "ml": 1.5}]

    store.jobs.ended(
        "a", JobState.DONE, results=["1.2.3"], segments=segments, timings_ms={"infer": 2.5}
    )

    found = store.jobs.get("a")
    assert (found.state, found.results, found.segments) == (
        JobState.DONE,
        ("1.2.3",),
        tuple(segments),
    )
    assert found.timings_ms == {"infer": 2.5}


def test_stages_are_added_up_by_model_for_jobs_that_are_done(store: NodeStore) -> None:
    for name, model in (("a", "liver"), ("b", "liver"), ("c", "lung"), ("d", "lung")):
        store.jobs.add([replace(job(name), model=model)])
        store.jobs.started(name)
    store.jobs.ended("a", JobState.DONE, timings_ms={"read": 250.0, "infer": 2000.0})
    store.jobs.ended("b", JobState.DONE, timings_ms={"infer": 500.0})
    store.jobs.ended("c", JobState.DONE, timings_ms={"infer": 4000.0})
    store.jobs.ended("d", JobState.WAITING, timings_ms={"infer": 8000.0})
    store.jobs.ended("a", JobState.DONE, timings_ms={"infer": 1.0})

    found = [(one.model, one.stage, one.seconds, one.number) for one in store.stage_times.all()]
    assert found == [
        ("liver", "infer", 2.5, 2),
        ("liver", "read", 0.25, 1),
        ("lung", "infer", 4, 1),
    ]


def test_what_follows_a_job_is_there_when_it_has_ended(store: NodeStore) -> None:
    """Else its series is done for a moment, and whoever waits for that looks too early."""
    brought_to(store, JobState.RUNNING)

    store.jobs.ended("a", JobState.DONE, followed_by=[job("b", JobAction.DELIVER)])

    assert store.jobs.get("b").state is JobState.QUEUED
    store.jobs.started("b")
    store.jobs.ended("a", JobState.DONE, followed_by=[job("b", JobAction.DELIVER)])
    assert store.jobs.get("b").state is JobState.RUNNING


def test_nothing_follows_a_cancelled_job(store: NodeStore) -> None:
    brought_to(store, JobState.RUNNING)
    store.jobs.cancel("a")

    store.jobs.ended("a", JobState.DONE, followed_by=[job("b", JobAction.DELIVER)])

    assert [one.id for one in store.jobs.all()] == ["a"]


@pytest.mark.parametrize("state", ENDED)
def test_what_has_ended_does_not_end_otherwise(store: NodeStore, state: JobState) -> None:
    brought_to(store, state)
    for other in JobState:
        store.jobs.ended("a", other, error="later")
    assert store.jobs.get("a").state is state
    assert store.jobs.get("a").error == "why"


@pytest.mark.parametrize("state", OPEN)
def test_a_cancelled_job_stays_cancelled(store: NodeStore, state: JobState) -> None:
    brought_to(store, state)

    assert store.jobs.cancel("a")

    store.jobs.ended("a", JobState.DONE)
    assert store.jobs.started("a") is None
    found = store.jobs.get("a")
    assert (found.state, found.error) == (JobState.DEAD, "cancelled by an operator")


@pytest.mark.parametrize("state", ENDED)
def test_what_has_ended_cannot_be_cancelled(store: NodeStore, state: JobState) -> None:
    brought_to(store, state)
    assert not store.jobs.cancel("a")
    assert store.jobs.get("a").state is state


@pytest.mark.parametrize("state", [JobState.REFUSED, JobState.DEAD])
def test_a_retry_is_a_new_generation_with_a_clean_slate(store: NodeStore, state: JobState) -> None:
    brought_to(store, state)

    assert store.jobs.retry("a")

    found = store.jobs.get("a")
    assert (found.state, found.generation) == (JobState.QUEUED, 1)
    assert (found.attempts, found.error) == (0, "")
    assert store.jobs.retried() == (found,)
    store.jobs.started("a")
    assert store.jobs.retried() == ()


@pytest.mark.parametrize("state", [*OPEN, JobState.DONE])
def test_only_what_ended_badly_is_retried(store: NodeStore, state: JobState) -> None:
    brought_to(store, state)
    assert not store.jobs.retry("a")
    assert store.jobs.get("a").generation == 0


def test_a_retry_keeps_what_a_peer_confirmed_already(store: NodeStore) -> None:
    store.jobs.add([job()])
    store.jobs.ended("a", JobState.DEAD, results=["1.2.3"])
    store.jobs.retry("a")
    assert store.jobs.get("a").results == ("1.2.3",)


def test_a_retried_jobs_age_counts_from_the_retry(store: NodeStore) -> None:
    """Otherwise a delivery given up after days is given up again at its first busy answer."""
    brought_to(store, JobState.DEAD)
    before = store.jobs.get("a").queued_at
    time.sleep(0.01)
    store.jobs.retry("a")
    assert store.jobs.get("a").queued_at > before


def test_jobs_are_listed_newest_first_and_by_state(store: NodeStore) -> None:
    for name in ("a", "b", "c"):
        store.jobs.add([job(name)])
        time.sleep(0.002)
    store.jobs.ended("b", JobState.DONE)

    assert [one.id for one in store.jobs.all()] == ["c", "b", "a"]
    assert [one.id for one in store.jobs.all(state=JobState.QUEUED)] == ["c", "a"]
    assert [one.id for one in store.jobs.all(limit=1)] == ["c"]
    assert [one.id for one in store.jobs.of_series("2.25.2")] == ["a", "b", "c"]


def test_counts_are_by_action_and_state(store: NodeStore) -> None:
    store.jobs.add([job("a"), job("b"), job("c", JobAction.SEGMENT)])
    store.jobs.ended("b", JobState.DEAD)
    assert store.jobs.state_counts() == {
        ("forward", "queued"): 1,
        ("forward", "dead"): 1,
        ("segment", "queued"): 1,
    }


def test_an_unknown_job_is_not_found(store: NodeStore) -> None:
    with pytest.raises(NotFound, match="no job nonesuch is known"):
        store.jobs.get("nonesuch")
    assert store.jobs.started("nonesuch") is None
    assert not store.jobs.cancel("nonesuch")
    assert not store.jobs.retry("nonesuch")


class TestWaitingForSeriesOfTheStudy:
    """A job that found too few series holds no worker, and starts again when one more is there."""

    @pytest.fixture(autouse=True)
    def _waiting(self, store: NodeStore) -> None:
        self.receive(store, SERIES)
        store.jobs.add([job(action=JobAction.SEGMENT)])
        self.wait(store)

    def receive(self, store: NodeStore, series: str, study: str = STUDY) -> None:
        store.intake.keep(offer(series=series, StudyInstanceUID=study), origin())
        complete(store)

    def wait(self, store: NodeStore, *, seconds: float = 3600) -> None:
        store.jobs.started("a")
        seen = sum(one.revision for one in store.series.of_study(STUDY))
        until = time.time() + seconds
        store.jobs.ended("a", JobState.WAITING, error="w", waits_until=until, waits_beyond=seen)

    def is_awake(self, store: NodeStore) -> bool:
        store.jobs.awaken()
        return [one.id for one in store.jobs.retried()] == ["a"]

    def test_nothing_new_leaves_it_waiting(self, store: NodeStore) -> None:
        assert not self.is_awake(store)
        found = store.jobs.get("a")
        assert (found.state, found.error) == (JobState.WAITING, "w")
        assert found.waits_until is not None

    def test_a_series_of_its_study_starts_it_again(self, store: NodeStore) -> None:
        queued_at = store.jobs.get("a").queued_at
        self.receive(store, "2.25.77")
        assert self.is_awake(store)
        found = store.jobs.get("a")
        assert (found.state, found.generation, found.attempts) == (JobState.QUEUED, 1, 0)
        assert found.queued_at == queued_at, "its time to wait began with its rule"
        store.jobs.started("a")
        assert store.jobs.get("a").waits_until is None
        assert not self.is_awake(store)

    def test_a_late_instance_of_a_series_starts_it_again(self, store: NodeStore) -> None:
        store.intake.keep(offer(2), origin())
        assert not self.is_awake(store), "it is still received"
        complete(store)
        assert self.is_awake(store)

    def test_a_series_of_another_study_does_not(self, store: NodeStore) -> None:
        self.receive(store, "2.25.77", study="2.25.78")
        assert not self.is_awake(store)

    def test_a_result_of_this_node_does_not(self, store: NodeStore) -> None:
        result = offer(series="2.25.77", StudyInstanceUID=STUDY)
        store.intake.keep(result, origin(source="result"))
        assert [one.series_instance_uid for one in store.series.of_study(STUDY)] == [SERIES]
        assert not self.is_awake(store)

    def test_the_end_of_its_time_starts_it_again(self, store: NodeStore) -> None:
        self.wait(store, seconds=-1)
        assert self.is_awake(store)

    def test_a_job_that_waits_for_a_peer_is_left_alone(self, store: NodeStore) -> None:
        store.jobs.started("a")
        store.jobs.ended("a", JobState.WAITING, error="busy")
        self.receive(store, "2.25.77")
        assert not self.is_awake(store)

    def test_a_cancelled_one_stays_cancelled(self, store: NodeStore) -> None:
        store.jobs.cancel("a")
        self.receive(store, "2.25.77")
        assert not self.is_awake(store)


def test_a_job_tells_its_inputs_whatever_became_of_it(store: NodeStore) -> None:
    brought_to(store, JobState.RUNNING)
    assert store.jobs.get("a").inputs == {}
    store.jobs.took("a", {"t1": "2.25.2", "t2": "2.25.9"})
    store.jobs.ended("a", JobState.REFUSED, error="why")
    assert list(store.jobs.get("a").inputs.items()) == [("t1", "2.25.2"), ("t2", "2.25.9")]
