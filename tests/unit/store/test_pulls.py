"""Pulls: a version once, on from where it was, and up to which change a source is done."""

import math

from gateway.store import NodeStore
from gateway.store.pulls import Pull, PullState
from tests.unit.store.conftest import OpenStore
from tests.unit.store.samples import offer, origin

STORE, IMAGE_SET = "d" * 32, "a" * 32


def begin(store: NodeStore, version: int = 1, image_set_id: str = IMAGE_SET) -> Pull:
    return store.pulls.begin(
        STORE, image_set_id, version, source="research", series_instance_uid="2.25.2"
    )


def test_a_pull_that_was_begun_goes_on_after_a_restart(open_again: OpenStore) -> None:
    first = begin(open_again())

    again = begin(open_again())

    assert (again.begun_at, again.attempts, again.state) == (first.begun_at, 2, PullState.BEGUN)
    assert open_again().pulls.unfinished() == (again,)


def test_what_is_done_is_wanted_again_at_a_newer_version_only(store: NodeStore) -> None:
    store.pulls.done(begin(store), ["2.25.2.2", "2.25.2.1"], {"2.25.2.3": "broken"})

    [pull] = store.pulls.of_series("2.25.2")
    assert (pull.instances, pull.failures) == (("2.25.2.1", "2.25.2.2"), {"2.25.2.3": "broken"})
    assert [pull.wants(version, math.inf) for version in (0, 1, 2)] == [False, False, True]
    assert store.pulls.unfinished() == ()


def test_a_newer_version_begins_anew_and_keeps_what_came_before(store: NodeStore) -> None:
    store.pulls.done(begin(store), ["2.25.2.1"], {"2.25.2.3": "broken"})

    newer = begin(store, version=2)
    assert (newer.attempts, newer.instances) == (1, ("2.25.2.1",))
    store.pulls.done(newer, ["2.25.2.2"])

    [pull] = store.pulls.of_series("2.25.2")
    assert (pull.version, pull.instances, pull.failures) == (2, ("2.25.2.1", "2.25.2.2"), {})


def test_what_waits_is_wanted_at_its_time(store: NodeStore) -> None:
    store.pulls.waits(begin(store), "later", retry_at=50.0)

    pull = store.pulls.known(STORE, [IMAGE_SET, "b" * 32])[IMAGE_SET]
    assert (pull.state, pull.error) == (PullState.WAITING, "later")
    assert [pull.wants(1, now) for now in (49.0, 50.0)] == [False, True]
    assert store.pulls.known("e" * 32, [IMAGE_SET]) == {}


def test_a_watermark_is_of_one_question(store: NodeStore) -> None:
    store.pulls.advance("research", "q", 10.0)
    store.pulls.advance("research", "q", 11.5)
    store.pulls.advance("other", "q", 1.0)

    assert store.pulls.watermark("research", "q") == 11.5
    assert store.pulls.watermark("research", "another") is None


def test_what_came_since_a_pull_began_is_known(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    pull = begin(store)
    store.intake.keep(offer(2), origin())

    assert store.pulls.kept_since(["2.25.2"], pull.begun_at) == {"2.25.2.2"}
