"""The worker process: completion, routing, models and delivery."""

import logging
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import structlog
from dbos import DBOS, DBOSConfig
from dbos._serialization import DBOSPortableJSONSerializer

from gateway.dimse.library import configure_pynetdicom
from gateway.errors import Problem
from gateway.inference import BundleHosts, Decoders, Model
from gateway.inference.verification import not_loaded
from gateway.settings import DeliverySettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.heartbeat import Identity, Lifetime
from gateway.store.history import History
from gateway.version import WORKFLOW_VERSION
from gateway.workflow.backoff import Backoff
from gateway.workflow.clock import engine_arguments
from gateway.workflow.completion import CompletionWatch
from gateway.workflow.configuration_book import ConfigurationBook
from gateway.workflow.delivery import Deliverer
from gateway.workflow.pipeline import Pipeline, register_queues
from gateway.workflow.reporting import CommitmentReporter
from gateway.workflow.routing import Router
from gateway.workflow.segmenting import Segmenter

_log = structlog.get_logger()
_LOOK_SECONDS = 0.25
_LOOK_AT_FILES_SECONDS = 2.0
_POLL_SECONDS = 0.2
_DRAIN_SECONDS = 20
_SECONDS_PER_DAY = 86_400


def run_worker(settings: Settings, identity: Identity) -> None:
    """Work until SIGTERM; running steps then have 20 s, what remains goes on at next start."""
    configure_pynetdicom()
    store = open_store(settings, identity.name)
    book = ConfigurationBook(settings)
    with BundleHosts() as hosts, Decoders() as decoders:
        pipeline = _pipeline(settings, store, book, hosts, decoders)
        _launch(settings, store.jobs.nodes_of_open_ones())
        watch = CompletionWatch(
            store,
            settings.dimse.quiet_seconds,
            pipeline.start_routing,
            pipeline.start_again,
            longest_quiet_seconds=settings.dimse.longest_quiet_seconds,
            ceiling_seconds=settings.dimse.ceiling_seconds,
            nodes=settings.nodes,
            ae_title=settings.node.ae_title,
        )
        reporter = CommitmentReporter(store, settings.nodes, _patience(settings.delivery))
        history = History(store.database)
        threading.Thread(
            target=_keep_loaded, args=(settings.node.models_dir, book, hosts, decoders), daemon=True
        ).start()

        def look() -> None:
            watch.look()
            reporter.look()
            history.tend()

        models = [model.name for model in book.current().models]
        Lifetime(store.processes, identity, {"models": models}).run(_LOOK_SECONDS, look)
        pipeline.stop(_DRAIN_SECONDS)
    store.close()
    logging.shutdown()
    # Threads of workflows that wait for their next attempt would hold up an ordinary exit.
    os._exit(0)


def _pipeline(
    settings: Settings,
    store: NodeStore,
    book: ConfigurationBook,
    hosts: BundleHosts,
    decoders: Decoders,
) -> Pipeline:
    ae_title = settings.node.ae_title
    return Pipeline(
        store=store,
        router=Router(store, book.rules),
        segmenter=Segmenter(store, book.model, hosts, ae_title, settings.nodes, decoders),
        deliverer=Deliverer(store, settings.nodes, ae_title),
        patience=_patience(settings.delivery),
    )


def _patience(delivery: DeliverySettings) -> Backoff:
    return Backoff(
        first_seconds=delivery.first_retry_seconds,
        longest_seconds=delivery.longest_retry_seconds,
        give_up_seconds=delivery.give_up_days * _SECONDS_PER_DAY,
    )


def _launch(settings: Settings, waiting_nodes: Iterable[str]) -> None:
    """Start the workflow engine; it goes on with what a killed worker left."""
    # The engine adds a handler of its own unless it finds one; its lines belong with ours.
    engine_log = logging.getLogger("dbos")
    engine_log.addHandler(logging.NullHandler())
    DBOS(
        config=DBOSConfig(
            name="gateway",
            system_database_url=settings.workflow_url,
            db_engine_kwargs=engine_arguments(settings.workflow_url),
            application_version=WORKFLOW_VERSION,
            executor_id="worker",
            # JSON, so that nothing in the workflow database is ever unpickled.
            serializer=DBOSPortableJSONSerializer(),
            log_level="WARNING",
            notification_listener_polling_interval_sec=_POLL_SECONDS,
        )
    )
    engine_log.propagate = True
    DBOS.launch()
    # Jobs for a node that was taken out of the settings end with that reason, not never.
    register_queues({*settings.nodes, *waiting_nodes}, _POLL_SECONDS)


def _keep_loaded(
    models_dir: Path, book: ConfigurationBook, hosts: BundleHosts, decoders: Decoders
) -> None:
    """Load what rules run before a series needs it, and look at the files of both for good."""
    loaded: tuple[Model, ...] = ()
    while True:
        in_use = book.current().models_in_use
        if in_use and not loaded:
            decoders.start()
        for model in in_use:
            if model not in loaded and (why := not_loaded(model, hosts)):
                problem = Problem(models_dir / f"{model.name}.yaml", 1, 1, why)
                _log.error("model_not_loaded", model=model.name, problems=[str(problem)])
        loaded = in_use
        time.sleep(_LOOK_AT_FILES_SECONDS)
