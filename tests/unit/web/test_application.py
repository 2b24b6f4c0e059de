"""Health, readiness and metrics over HTTP, and who may store and search."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from gateway.errors import DataSetUnreadable
from gateway.settings import NodeSettings, Settings, WebSettings
from gateway.store import Job, JobAction, JobState, NodeStore, Offer, open_store
from gateway.store.database import Database
from gateway.store.schema import processes
from gateway.web.application import application
from tests.unit.store.samples import CT, EXPLICIT, PATIENT, PATIENT_ID, SERIES, offer, origin


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(node=NodeSettings(data_dir=tmp_path, reserve_gb=0))


@pytest.fixture
def store(settings: Settings) -> Iterator[NodeStore]:
    database = Database(settings.index_url)
    database.upgrade()
    database.close()
    opened = open_store(settings)
    yield opened
    opened.close()


def post(store: NodeStore, web: WebSettings) -> tuple[int, str]:
    """Return status and body of a store request to an application with these settings."""

    async def ask() -> tuple[int, str]:
        async with TestClient(TestServer(application(store, Settings(web=web)))) as client:
            path = "/dicom-web/studies"
            answer = await client.post(path, data=b"x", headers={"Content-Type": "text/plain"})
            return answer.status, await answer.text()

    return asyncio.run(ask())


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "10.0.0.5", "gateway.hospital.example"])  # noqa: S104 - never bound
def test_nobody_stores_from_other_machines_without_leave(store: NodeStore, bind: str) -> None:
    status, said = post(store, WebSettings(bind=bind))
    assert status == 403
    assert "reverse proxy that authenticates" in said
    assert post(store, WebSettings(bind=bind, allow_unauthenticated=True))[0] == 415


@pytest.mark.parametrize("path", ["studies", "series", "instances", "studies/2.25.1/series"])
def test_nobody_searches_from_other_machines_without_leave(store: NodeStore, path: str) -> None:
    store.intake.keep(offer(1), origin())
    beyond = WebSettings(bind="10.0.0.5")
    trusted = WebSettings(bind="10.0.0.5", allow_unauthenticated=True)
    refused = get(store, f"/dicom-web/{path}", beyond)
    assert refused[0] == 403
    assert "reverse proxy that authenticates" in refused[2]
    assert PATIENT_ID not in refused[2]
    assert get(store, f"/dicom-web/{path}", trusted)[0] == 200


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_may_store(store: NodeStore, bind: str) -> None:
    assert post(store, WebSettings(bind=bind))[0] == 415


def get(store: NodeStore, path: str, web: WebSettings | None = None) -> tuple[int, str, str]:
    """Return status, content type and body of a request to a real server."""
    settings = Settings(web=web or WebSettings())

    async def ask() -> tuple[int, str, str]:
        async with TestClient(TestServer(application(store, settings))) as client:
            answer = await client.get(path)
            return answer.status, answer.headers["Content-Type"], await answer.text()

    return asyncio.run(ask())


def ready(store: NodeStore) -> tuple[int, dict[str, object]]:
    status, kind, body = get(store, "/readyz")
    assert kind.startswith("application/json")
    return status, json.loads(body)


def alive(store: NodeStore, *names: str) -> None:
    for name in names:
        store.processes.beat(name, started_at=time.time(), detail={})


def metrics(store: NodeStore) -> dict[str, float]:
    """Return the samples of the metrics page by their name and labels."""
    status, kind, body = get(store, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=")
    return {
        sample.name + "".join(f"[{value}]" for _, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def test_healthz_says_that_the_process_answers(store: NodeStore) -> None:
    assert get(store, "/healthz")[::2] == (200, "ok\n")


@pytest.mark.parametrize("path", ["/", "/nonesuch", "/metrics/../../etc/passwd", "/objects/"])
def test_nothing_else_is_served(store: NodeStore, path: str) -> None:
    assert get(store, path)[0] == 404


def test_a_node_with_receiver_and_worker_is_ready(store: NodeStore) -> None:
    alive(store, "receiver-0", "worker", "web")
    assert ready(store) == (
        200,
        {
            "ready": True,
            "reasons": [],
            "processes": {"receiver-0": "alive", "web": "alive", "worker": "alive"},
        },
    )


@pytest.mark.parametrize(
    ("running", "reasons"),
    [
        ((), ["no receiver is alive", "no worker is alive"]),
        (("receiver-0", "web"), ["no worker is alive"]),
        (("worker",), ["no receiver is alive"]),
    ],
)
def test_a_missing_process_is_named(
    store: NodeStore, running: tuple[str, ...], reasons: list[str]
) -> None:
    alive(store, *running)
    status, said = ready(store)
    assert (status, said["ready"], said["reasons"]) == (503, False, reasons)


def test_a_silent_process_is_as_good_as_none(store: NodeStore) -> None:
    alive(store, "receiver-0", "worker")
    with store.database.writing() as connection:
        connection.execute(
            update(processes)
            .where(processes.c.name == "worker")
            .values(heartbeat_at=time.time() - 60)
        )
    status, said = ready(store)
    assert (status, said["reasons"]) == (503, ["no worker is alive"])
    assert said["processes"] == {"receiver-0": "alive", "worker": "silent"}


def test_one_of_several_receivers_is_enough(store: NodeStore) -> None:
    alive(store, "receiver-1", "worker")
    assert ready(store)[0] == 200


def test_a_disk_below_the_reserve_is_not_ready(store: NodeStore, settings: Settings) -> None:
    node = settings.node.model_copy(update={"reserve_gb": 10_000_000})
    full = open_store(settings.model_copy(update={"node": node}))
    alive(full, "receiver-0", "worker")
    status, said = ready(full)
    full.close()
    assert status == 503
    assert "GB free is less than the reserve" in str(said["reasons"])


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
def test_an_index_that_cannot_be_read_is_a_reason_and_no_broken_page(
    store: NodeStore, settings: Settings, path: str
) -> None:
    index = settings.node.data_dir / "index.sqlite"
    for file in index.parent.glob("index.sqlite*"):
        file.unlink()
    index.write_bytes(b"no database" * 1000)
    broken = open_store(settings)
    status, _, said = get(broken, path)
    broken.close()
    assert status == 503
    assert "the index did not take a transaction" in said


def busy_node(store: NodeStore) -> None:
    """Receive, repeat, contradict, refuse; queue and fail."""
    for one in (offer(1), offer(2), offer(1), offer(1, SeriesDescription="other")):
        store.intake.keep(one, origin())
    nameless = Offer(
        data_set=b"\xff" * 99,
        transfer_syntax_uid=EXPLICIT,
        sop_class_uid=CT,
        sop_instance_uid="2.25.7",
    )
    with pytest.raises(DataSetUnreadable):
        store.intake.keep(nameless, origin())
    for name in ("a", "b"):
        job = Job(
            id=name, series_instance_uid=SERIES, revision=1, rule="r", action=JobAction.SEGMENT
        )
        store.jobs.add([job])
    store.jobs.ended("b", JobState.REFUSED, error="tilt")
    alive(store, "receiver-0")


def test_the_metrics_hold_the_counts_of_the_node(store: NodeStore) -> None:
    busy_node(store)

    found = metrics(store)

    assert {
        "gateway_instances_new_total": 2,
        "gateway_instances_duplicate_total": 1,
        "gateway_instances_conflict_total": 1,
        "gateway_quarantined_total": 1,
        "gateway_rejected_associations_total": 0,
        "gateway_series[receiving]": 1,
        "gateway_series[done]": 0,
        "gateway_jobs[segment][queued]": 1,
        "gateway_jobs[segment][refused]": 1,
        "gateway_process_alive[receiver-0]": 1,
    }.items() <= found.items()
    assert found["gateway_free_bytes"] > 0


def test_an_idle_node_has_every_counter_at_zero(store: NodeStore) -> None:
    totals = {name: value for name, value in metrics(store).items() if name.endswith("_total")}
    assert len(totals) == 7
    assert set(totals.values()) == {0}


def test_counts_outlive_the_process(store: NodeStore, settings: Settings) -> None:
    busy_node(store)
    again = open_store(settings)
    assert metrics(again)["gateway_instances_new_total"] == 2
    again.close()


def test_the_stages_of_segmentations_are_summed_and_counted(store: NodeStore) -> None:
    job = Job(
        id="a",
        series_instance_uid="2.25.2",
        revision=1,
        rule="r",
        action=JobAction.SEGMENT,
        model="liver",
    )
    store.jobs.add([job])
    store.jobs.started("a")
    store.jobs.ended("a", JobState.DONE, timings_ms={"decode": 1500.0})
    found = {name: value for name, value in metrics(store).items() if "stage_seconds" in name}
    assert sorted(found.values()) == [1.0, 1.5]
    assert all("liver" in name and "decode" in name for name in found)


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/healthz"])
def test_no_page_names_a_patient_or_a_study(store: NodeStore, path: str) -> None:
    busy_node(store)
    body = get(store, path)[2]
    for secret in (PATIENT, PATIENT_ID, "Mustermann", SERIES + ".1"):
        assert secret not in body


def test_an_index_that_cannot_be_read_is_not_ready(tmp_path: Path) -> None:
    """Its schema is missing here; a lost database server looks the same."""
    store = open_store(Settings(node=NodeSettings(data_dir=tmp_path, reserve_gb=0)))
    status, said = ready(store)
    store.close()
    assert status == 503
    assert said["reasons"]
