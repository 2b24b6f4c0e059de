"""The worker process: completion, routing, models, delivery and what is pulled."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from gateway.dimse.library import configure_pynetdicom
from gateway.errors import Problem
from gateway.inference import KEPT_FOLDER, BundleHosts, Decoders, Model
from gateway.inference.verification import not_loaded
from gateway.settings import DeliverySettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.heartbeat import Identity, Lifetime
from gateway.store.history import History
from gateway.workflow.backoff import Backoff
from gateway.workflow.completion import CompletionWatch
from gateway.workflow.configuration_book import ConfigurationBook
from gateway.workflow.delivery import Deliverer
from gateway.workflow.early_decoding import EarlyDecoding
from gateway.workflow.engine import launch_engine
from gateway.workflow.pipeline import Pipeline
from gateway.workflow.precedence import priority_of
from gateway.workflow.reporting import CommitmentReporter
from gateway.workflow.routing import Router
from gateway.workflow.segmenting import Segmenter
from gateway.workflow.sources import Sources

_log = structlog.get_logger()
_LOOK_SECONDS = 0.25
_LOOK_AT_FILES_SECONDS = 2.0
_DRAIN_SECONDS = 20
_SOURCES_SECONDS = 4
_SECONDS_PER_DAY = 86_400


def run_worker(settings: Settings, identity: Identity) -> None:
    """Work until SIGTERM; running steps then have 20 s, what remains goes on at next start."""
    configure_pynetdicom()
    store = open_store(settings, identity.name)
    store.outgoing.discard_all()
    book = ConfigurationBook(settings)
    router, ended = Router(store, book.rules), threading.Event()
    kept = settings.node.data_dir / KEPT_FOLDER
    with BundleHosts(kept=kept) as hosts, Decoders() as decoders:
        pipeline = _pipeline(settings, store, book, router, hosts, decoders)
        # Jobs for a node that was taken out of the settings end with that reason, not never.
        sources = Sources(store, settings, _patience(settings.delivery), identity.name)
        sources.recover()
        launch_engine(settings, {*settings.nodes, *store.jobs.nodes_of_open_ones()})
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
        early = EarlyDecoding(store, decoders, _segmentable(router, book))
        threading.Thread(target=early.run, args=(ended,), daemon=True).start()
        pulling = threading.Thread(target=sources.run, args=(ended,), daemon=True)
        pulling.start()

        def look() -> None:
            watch.look()
            reporter.look()
            history.tend()

        models = [model.name for model in book.current().models]
        Lifetime(store.processes, identity, {"models": models}).run(_LOOK_SECONDS, look)
        ended.set()
        pipeline.stop(_DRAIN_SECONDS)
        pulling.join(_SOURCES_SECONDS)
    store.close()
    logging.shutdown()
    # Threads of workflows that wait for their next attempt would hold up an ordinary exit.
    os._exit(0)


def _pipeline(
    settings: Settings,
    store: NodeStore,
    book: ConfigurationBook,
    router: Router,
    hosts: BundleHosts,
    decoders: Decoders,
) -> Pipeline:
    ae_title = settings.node.ae_title
    return Pipeline(
        store=store,
        router=router,
        segmenter=Segmenter(store, book.model, hosts, ae_title, settings.nodes, decoders),
        deliverer=Deliverer(store, settings.nodes, ae_title, settings.deidentification.words),
        patience=_patience(settings.delivery),
        priority_of=lambda model: priority_of(model, book.model),
    )


def _patience(delivery: DeliverySettings) -> Backoff:
    return Backoff(
        first_seconds=delivery.first_retry_seconds,
        longest_seconds=delivery.longest_retry_seconds,
        give_up_seconds=delivery.give_up_days * _SECONDS_PER_DAY,
    )


def _segmentable(router: Router, book: ConfigurationBook) -> Callable[[str], bool]:
    """Return what tells of a series that arrives whether some model may be to run on it."""

    def may_segment(series_instance_uid: str) -> bool:
        modalities = {one.name: one.descriptor.modality for one in book.current().models}
        return router.may_segment(series_instance_uid, modalities)

    return may_segment


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
