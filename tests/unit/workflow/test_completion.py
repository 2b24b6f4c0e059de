"""What the watch finds, it finds again after a crash."""

from contextlib import closing

from gateway.settings import DimseNode, Node
from gateway.store import Job, JobAction, JobState, NodeStore
from gateway.store.series import record_decision
from gateway.workflow.completion import CompletionWatch
from tests.peers.archive import Archive
from tests.peers.processes import free_port, wait_until
from tests.unit.store.completing import pass_time
from tests.unit.store.samples import SERIES, offer, origin


class Seen:
    """Keeps what the watch asked for."""

    def __init__(self, store: NodeStore, quiet_seconds: float = 0, **nodes: Node) -> None:
        self.routed: list[tuple[str, int]] = []
        self.retried: list[str] = []
        self.watch = CompletionWatch(
            store,
            quiet_seconds,
            lambda uid, revision: self.routed.append((uid, revision)),
            lambda job: self.retried.append(job.id),
            nodes=nodes,
        )

    def looked(self) -> list[tuple[str, int]]:
        self.watch.look()
        return self.routed


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


def test_a_series_is_routed_as_soon_as_its_source_has_no_more(store: NodeStore) -> None:
    store.associations.opened("a", "receiver-0", origin("a"), "10.0.0.5")
    store.intake.keep(offer(1), origin("a"))
    pass_time(store, 1)
    with Archive(counts={SERIES: 1}) as archive:
        seen = Seen(store, quiet_seconds=3600, pacs=archive.node("CT1"))
        with closing(seen.watch):
            wait_until(seen.looked, "the series is routed", 10, 0.05)
    assert store.series.get(SERIES).completed_because == "1 of 1 instances that node pacs counts"


def test_a_source_that_is_away_leaves_the_quiet_time(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    away = DimseNode(
        kind="dimse", ae_title="A", host="127.0.0.1", port=free_port(), counts_for=("CT1",)
    )
    seen = Seen(store, quiet_seconds=0, pacs=away)
    with closing(seen.watch):
        wait_until(seen.looked, "the series is routed", 10, 0.05)
    assert "0 s of quiet" in store.series.get(SERIES).completed_because
