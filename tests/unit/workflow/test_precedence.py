"""Which segment job is begun next: urgent ones first, and nobody waits for ever."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import update

from gateway.errors import NotFound
from gateway.inference import Model, Priority, load_model
from gateway.settings import Settings
from gateway.store import Job, JobAction, NodeStore, open_store
from gateway.store.database import Database
from gateway.store.schema import jobs as job_table
from gateway.workflow.precedence import place_in_queue, priority_of
from tests.unit.inference.bundles import threshold_bundle

MODELS = {"urgent": "urgent", "normal": "normal", "background": "background"}
HOURS = 3600


class TestThePlaceInTheQueue:
    def test_an_urgent_job_comes_before_normal_ones_and_these_before_background(self) -> None:
        now = time.time()
        places = [place_in_queue(one, now) for one in Priority]
        assert list(Priority) == [Priority.URGENT, Priority.NORMAL, Priority.BACKGROUND]
        assert places == sorted(set(places))

    def test_a_job_that_waited_longer_than_its_patience_comes_before_urgent_ones(self) -> None:
        now = time.time()
        assert place_in_queue(Priority.BACKGROUND, now - 7 * HOURS) < place_in_queue(
            Priority.URGENT, now
        )

    def test_it_is_always_one_that_the_queue_takes(self) -> None:
        for queued_at in (0, time.time(), 2**31, 2**40):
            for priority in Priority:
                assert 1 <= place_in_queue(priority, queued_at) <= 2**31 - 1


class TestThePriorityOfAModel:
    def test_it_is_that_of_the_descriptor(self, tmp_path: Path) -> None:
        threshold_bundle(tmp_path, host={"priority": "urgent"})
        assert priority_of("thresholds", lambda name: load_model(tmp_path, name)) == "urgent"

    def test_a_model_that_is_not_there_is_normal_for_its_job_says_why(self) -> None:
        def no_model(name: str) -> Model:
            raise NotFound(f"there is no model {name}")

        assert priority_of("gone", no_model) == Priority.NORMAL

    def test_so_is_a_broken_one(self, tmp_path: Path) -> None:
        model = threshold_bundle(tmp_path, host={"priority": "urgent"})
        (tmp_path / f"{model.name}.yaml").write_text("bundle_digest: [")
        assert priority_of(model.name, lambda name: load_model(tmp_path, name)) == Priority.NORMAL


class Worker:
    """A worker process that says which jobs begin."""

    def __init__(self, settings: Settings, models: Mapping[str, str], jobs: Sequence[str]) -> None:
        names = ",".join(f"{name}={priority}" for name, priority in models.items())
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", "tests.unit.workflow.queued"),
                *(str(settings.node.data_dir), settings.database.url or "", names, *jobs),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # One that does not say what it should must not hold up the tests.
        self._limit = threading.Timer(120, self._process.kill)
        self._limit.start()
        self.began: list[str] = []
        self.places: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        self._process.kill()
        self._process.communicate()

    def wait_for(self, number: int) -> list[str]:
        """Return the jobs that began, when so many did."""
        while len(self.began) < number:
            self._read()
        return self.began

    def end(self, job: str) -> None:
        """Let a job end."""
        self._tell(f"end {job}")

    def look_at_places(self) -> dict[str, int]:
        """Return the places of all jobs in the queue, by what the queue itself keeps."""
        self.places = {}
        self._tell("places")
        while not self.places:
            self._read()
        return self.places

    def wait_until_queued(self) -> None:
        """Wait until all jobs are queued."""
        while self._read() != ["queued"]:
            continue

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _read(self) -> list[str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the worker ended"
        words = line.split()
        if words[0] == "began":
            self.began.append(words[1])
        elif line.startswith("{"):
            self.places = json.loads(line)
        return words


@pytest.fixture
def store(node_settings: Settings) -> Iterator[NodeStore]:
    node_settings.node.data_dir.mkdir()
    database = Database(node_settings.index_url)
    database.upgrade()
    database.close()
    opened = open_store(node_settings)
    yield opened
    opened.close()


def enter(store: NodeStore, name: str, model: str, *, hours_ago: float = 0) -> None:
    """Enter a job of a series of its own."""
    job = Job(
        id=name,
        series_instance_uid=f"2.25.{len(store.jobs.all()) + 1}",
        revision=1,
        rule="r",
        action=JobAction.SEGMENT,
        model=model,
    )
    store.jobs.add([job])
    with store.database.writing() as connection:
        connection.execute(
            update(job_table)
            .where(job_table.c.id == name)
            .values(queued_at=time.time() - hours_ago * HOURS)
        )


def fill(store: NodeStore) -> list[str]:
    """Enter as many jobs as run at once; what is queued after them waits."""
    names = ["first", "second", "third"]
    for name in names:
        enter(store, name, "normal", hours_ago=9)
    return names


def test_urgent_jobs_overtake_those_that_wait_and_nobody_waits_for_ever(
    node_settings: Settings, store: NodeStore
) -> None:
    running = fill(store)
    enter(store, "young-background", "background")
    enter(store, "old-background", "background", hours_ago=7)
    enter(store, "normal", "normal")
    enter(store, "old-normal", "normal", hours_ago=0.5)
    enter(store, "urgent", "urgent")
    waiting = ["young-background", "old-background", "normal", "old-normal", "urgent"]
    in_order = ["old-background", "old-normal", "urgent", "normal", "young-background"]

    with Worker(node_settings, MODELS, running + waiting) as worker:
        worker.wait_until_queued()
        assert sorted(worker.wait_for(3)) == sorted(running)
        worker.end("second")
        for number, name in enumerate(in_order, start=4):
            assert worker.wait_for(number)[-1] == name
            worker.end(name)


def test_a_job_keeps_its_place_when_its_worker_is_killed_whatever_became_of_the_models(
    node_settings: Settings, store: NodeStore
) -> None:
    running = fill(store)
    enter(store, "normal", "normal")
    enter(store, "urgent", "urgent")
    with Worker(node_settings, MODELS, [*running, "normal", "urgent"]) as worker:
        worker.wait_until_queued()
        worker.wait_for(3)
        places = worker.look_at_places()

    swapped = {"normal": "urgent", "urgent": "background"}
    with Worker(node_settings, swapped, ["normal", "urgent"]) as worker:
        worker.wait_until_queued()
        assert sorted(worker.wait_for(3)) == sorted(running)
        worker.end("first")
        assert worker.wait_for(4)[-1] == "urgent"
        assert worker.look_at_places() == places
