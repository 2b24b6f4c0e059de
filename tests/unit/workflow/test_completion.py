"""What the watch finds, it finds again after a crash."""

from gateway.store import Job, JobAction, JobState, NodeStore
from gateway.store.series import record_decision
from gateway.workflow.completion import CompletionWatch
from tests.unit.store.samples import SERIES, offer, origin


class Seen:
    """Keeps what the watch asked for."""

    def __init__(self, store: NodeStore, quiet_seconds: float = 0) -> None:
        self.routed: list[tuple[str, int]] = []
        self.retried: list[str] = []
        self.watch = CompletionWatch(
            store,
            quiet_seconds,
            lambda uid, revision: self.routed.append((uid, revision)),
            lambda job: self.retried.append(job.id),
        )


def test_nothing_received_is_nothing_to_do(store: NodeStore) -> None:
    seen = Seen(store)
    seen.watch.look()
    assert (seen.routed, seen.retried) == ([], [])


def test_a_quiet_series_is_routed(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    seen = Seen(store)
    seen.watch.look()
    assert seen.routed == [(SERIES, 1)]


def test_a_series_that_is_not_quiet_yet_is_left_alone(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    seen = Seen(store, quiet_seconds=3600)
    seen.watch.look()
    assert seen.routed == []


def test_a_series_is_asked_for_until_its_decision_is_written_down(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    Seen(store).watch.look()
    after_a_crash = Seen(store)
    after_a_crash.watch.look()
    assert after_a_crash.routed == [(SERIES, 1)]

    with store.database.writing() as connection:
        record_decision(connection, SERIES, 1, "d", [])
    after_a_crash.watch.look()
    assert after_a_crash.routed == [(SERIES, 1)]


def test_a_late_instance_is_routed_as_a_new_revision(store: NodeStore) -> None:
    seen = Seen(store)
    for number in (1, 2):
        store.intake.keep(offer(number), origin())
        seen.watch.look()
        with store.database.writing() as connection:
            record_decision(connection, SERIES, number, "d", [])
    assert seen.routed == [(SERIES, 1), (SERIES, 2)]


def test_what_a_person_queued_again_is_started(store: NodeStore) -> None:
    store.jobs.add(
        [
            Job(id=name, series_instance_uid=SERIES, revision=1, rule="r", action=JobAction.FORWARD)
            for name in ("a", "b")
        ]
    )
    store.jobs.ended("a", JobState.DEAD)
    store.jobs.retry("a")
    seen = Seen(store)
    seen.watch.look()
    assert seen.retried == ["a"]
    store.jobs.started("a")
    seen.watch.look()
    assert seen.retried == ["a"]
