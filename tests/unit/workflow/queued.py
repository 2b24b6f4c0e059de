"""A worker whose segment jobs are noted as they begin, and end when they are told.

``python -m tests.unit.workflow.queued DATA_DIR DATABASE_URL MODELS JOB...`` queues these jobs of
the index, then reads lines: ``end JOB`` and ``places``. ``MODELS`` is ``NAME=PRIORITY,...``.
"""

import json
import os
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import ClassVar

from dbos import DBOS

from gateway.dimse.library import configure_pynetdicom
from gateway.errors import NotFound
from gateway.inference import BundleHosts, Model, Priority
from gateway.rules import load_rules
from gateway.settings import DatabaseSettings, NodeSettings, Settings
from gateway.store import Job, JobState, open_store
from gateway.workflow.attempt import Attempt
from gateway.workflow.backoff import Backoff
from gateway.workflow.delivery import Deliverer
from gateway.workflow.engine import launch_engine
from gateway.workflow.pipeline import Pipeline
from gateway.workflow.routing import Router
from gateway.workflow.segmenting import Segmenter


def say(*words: str) -> None:
    """Write one line."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def no_model(name: str) -> Model:
    """Know no model."""
    raise NotFound(f"there is no model {name}")


class Noting(Segmenter):
    """Says when a job begins, and ends it when it is told to."""

    told: ClassVar[defaultdict[str, threading.Event]] = defaultdict(threading.Event)

    def attempt(self, job: Job) -> Attempt:
        """Wait for the word."""
        say("began", job.id)
        self.told[job.id].wait()
        return Attempt(state=JobState.DONE)


def main(data_dir: str, url: str, models: str, *jobs: str) -> None:
    """Queue jobs, and obey."""
    configure_pynetdicom()
    settings = Settings(
        node=NodeSettings(data_dir=Path(data_dir), reserve_gb=0),
        database=DatabaseSettings(url=url or None),
    )
    store = open_store(settings)
    priorities = dict(one.split("=") for one in models.split(",") if one)
    pipeline = Pipeline(
        store=store,
        router=Router(store, lambda: load_rules(Path(data_dir), nodes={}, models={})),
        segmenter=Noting(store, no_model, BundleHosts(gpus=()), "GATEWAY"),
        deliverer=Deliverer(store, {}, "GATEWAY"),
        patience=Backoff(first_seconds=1, longest_seconds=1, give_up_seconds=60),
        priority_of=lambda model: Priority(priorities[model]),
    )
    launch_engine(settings, ())
    for job in jobs:
        pipeline.start_again(store.jobs.get(job))
    say("queued")
    for line in sys.stdin:
        word, *names = line.split()
        if word == "end":
            Noting.told[names[0]].set()
        else:
            found = DBOS.list_workflows(name="segment")
            say(json.dumps({one.workflow_id.split(":")[1]: one.priority for one in found}))
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
