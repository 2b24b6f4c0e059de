"""The worker process: completion, routing, models and delivery."""

import logging
import os
import threading
from collections.abc import Callable, Collection

import structlog

from gateway.dimse.library import configure_pynetdicom
from gateway.errors import GatewayError
from gateway.inference import (
    BundleDigests,
    BundleHosts,
    Decoders,
    Model,
    list_models,
    load_model,
)
from gateway.rules import RuleBook
from gateway.settings import DeliverySettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.heartbeat import Identity, Lifetime
from gateway.workflow.backoff import Backoff
from gateway.workflow.completion import CompletionWatch
from gateway.workflow.delivery import Deliverer
from gateway.workflow.early_decoding import EarlyDecoding
from gateway.workflow.engine import launch_engine
from gateway.workflow.pipeline import Pipeline
from gateway.workflow.precedence import priority_of
from gateway.workflow.reporting import CommitmentReporter
from gateway.workflow.routing import Router
from gateway.workflow.segmenting import Segmenter

_log = structlog.get_logger()
_LOOK_SECONDS = 0.25
_DRAIN_SECONDS = 20
_SECONDS_PER_DAY = 86_400


def run_worker(settings: Settings, identity: Identity) -> None:
    """Work until SIGTERM; running steps then have 20 s, what remains goes on at next start."""
    configure_pynetdicom()
    store = open_store(settings, identity.name)
    models_dir, digests = settings.node.models_dir, BundleDigests()
    models = {model.name: model for model in list_models(models_dir, digests.of)}
    rules = RuleBook(settings.node.rules_dir, nodes=settings.nodes, models=models)

    def model_named(name: str) -> Model:
        return load_model(models_dir, name, digests.of)

    router, ended = Router(store, rules), threading.Event()
    with BundleHosts() as hosts, Decoders() as decoders:
        pipeline = _pipeline(settings, store, router, model_named, hosts, decoders)
        # Jobs for a node that was taken out of the settings end with that reason, not never.
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
        threading.Thread(
            target=_warm, args=(hosts, decoders, _models_in_use(rules, models)), daemon=True
        ).start()
        early = EarlyDecoding(store, decoders, _segmentable(router, models.values()))
        threading.Thread(target=early.run, args=(ended,), daemon=True).start()

        def look() -> None:
            watch.look()
            reporter.look()

        Lifetime(store.processes, identity, {"models": sorted(models)}).run(_LOOK_SECONDS, look)
        ended.set()
        pipeline.stop(_DRAIN_SECONDS)
    store.close()
    logging.shutdown()
    # Threads of workflows that wait for their next attempt would hold up an ordinary exit.
    os._exit(0)


def _pipeline(
    settings: Settings,
    store: NodeStore,
    router: Router,
    model_named: Callable[[str], Model],
    hosts: BundleHosts,
    decoders: Decoders,
) -> Pipeline:
    ae_title = settings.node.ae_title
    return Pipeline(
        store=store,
        router=router,
        segmenter=Segmenter(
            store,
            model_named,
            hosts,
            ae_title,
            settings.nodes,
            decoders,
        ),
        deliverer=Deliverer(store, settings.nodes, ae_title),
        patience=_patience(settings.delivery),
        priority_of=lambda model: priority_of(model, model_named),
    )


def _patience(delivery: DeliverySettings) -> Backoff:
    return Backoff(
        first_seconds=delivery.first_retry_seconds,
        longest_seconds=delivery.longest_retry_seconds,
        give_up_seconds=delivery.give_up_days * _SECONDS_PER_DAY,
    )


def _segmentable(router: Router, models: Collection[Model]) -> Callable[[str], bool]:
    """Return what tells of a series that arrives whether some model may be to run on it."""
    modalities = {model.name: model.descriptor.modality for model in models}
    return lambda series_instance_uid: router.may_segment(series_instance_uid, modalities)


def _models_in_use(rules: RuleBook, models: dict[str, Model]) -> list[Model]:
    """Return the models that an enabled rule runs."""
    named = rules.current().models
    return [model for name, model in models.items() if name in named]


def _warm(hosts: BundleHosts, decoders: Decoders, models: Collection[Model]) -> None:
    """Load models before the first series needs them; a failure is the job's to report."""
    if models:
        decoders.start()
    for model in models:
        try:
            hosts.start(model)
        except GatewayError as error:
            _log.error("model_not_loaded", model=model.name, reason=str(error))
