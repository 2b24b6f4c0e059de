"""All sources in a thread: trouble told once, others not held up, an end within a moment."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from gateway.settings import Settings
from gateway.store import NodeStore
from gateway.testing.healthimaging import Fault, FaultKind
from gateway.workflow.backoff import Backoff
from gateway.workflow.sources import Sources
from tests.peers.cloud import Cloud, open_cloud
from tests.peers.processes import wait_until
from tests.unit.workflow.clouds import node_of
from tests.unit.workflow.pulling import imported, kept_uids, scanned, uids

SEARCH = "SearchImageSets"
QUICK = Backoff(first_seconds=0.05, longest_seconds=0.05, give_up_seconds=60)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with open_cloud(tmp_path / "cloud") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def pulled_until(store: NodeStore, cloud: Cloud, is_over: Callable[[], object]) -> list[EventDict]:
    """Pull from two data stores, one of which is not there; return what was logged."""
    nodes = {"cloud": node_of(cloud), "gone": node_of(cloud, datastore_id="f" * 32)}
    asked = {
        name: {"node": node, "every_seconds": 0.05}
        for name, node in (("lost", "gone"), ("research", "cloud"))
    }
    settings = Settings.model_validate({"nodes": nodes, "sources": asked})
    ended = threading.Event()
    sources = Sources(store, settings, QUICK, "worker")
    with capture_logs() as logs:
        sources.recover()
        thread = threading.Thread(target=sources.run, args=(ended,))
        thread.start()
        try:
            wait_until(is_over, "the sources have done it", 30, 0.05)
        finally:
            ended.set()
            began = time.monotonic()
            thread.join(10)
    assert time.monotonic() - began < 3
    assert not thread.is_alive()
    return list(logs)


def test_trouble_is_told_once_and_holds_up_no_other(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(1, 2)
    imported(cloud, images)
    cloud.faults.add(Fault(operation=SEARCH, kind=FaultKind.DENIED, times=6))

    logs = pulled_until(
        store,
        cloud,
        lambda: (
            kept_uids(store, str(images[0].SeriesInstanceUID)) == uids(images)
            and cloud.faults.calls(SEARCH) > 20
        ),
    )

    troubles = [one for one in logs if one["event"] == "source_not_pulled"]
    for name in ("lost", "research"):
        of_source = {one["reason"] for one in troubles if one["source"] == name}
        assert len(of_source) == len([one for one in troubles if one["source"] == name])
    assert any("nodes.gone.datastore_id" in one["reason"] for one in troubles)
    assert [one["source"] for one in logs if one["event"] == "source_pulled_again"] == ["research"]


def test_a_pull_ends_in_the_middle_when_it_is_asked_to(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(2, 4)
    imported(cloud, images)
    cloud.faults.add(Fault(operation="GetImageFrame", kind=FaultKind.SLOW, seconds=20))
    series = str(images[0].SeriesInstanceUID)

    pulled_until(store, cloud, lambda: cloud.faults.calls("GetImageFrame"))

    assert [one.series_instance_uid for one in store.pulls.unfinished()] == [series]
    assert kept_uids(store, series) < uids(images)


def test_what_a_killed_worker_was_fetching_is_waited_for(store: NodeStore, cloud: Cloud) -> None:
    images = scanned(3, 2)
    series = str(images[0].SeriesInstanceUID)
    placed = imported(cloud, images[:1])
    pulled_until(store, cloud, lambda: kept_uids(store, series))
    imported(cloud, images[1:])
    pull = store.pulls.begin(
        cloud.data_store_id, placed.image_set_id, 2, source="research", series_instance_uid=series
    )
    store.pulls.expects(pull, 2)

    pulled_until(store, cloud, lambda: not store.pulls.unfinished())

    assert kept_uids(store, series) == uids(images)
    assert store.series.get(series).revision == 2
