"""The worker process: completion, routing, models and delivery."""

import logging
import os
import threading
from collections.abc import Collection, Iterable

import structlog
from dbos import DBOS, DBOSConfig
from dbos._serialization import DBOSPortableJSONSerializer

from gateway.dimse.library import configure_pynetdicom
from gateway.errors import GatewayError
from gateway.inference import (
    KEPT_FOLDER,
    BundleHosts,
    Decoders,
    Model,
    list_models,
    load_model,
)
from gateway.rules import RuleBook, Segment
from gateway.settings import DeliverySettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.heartbeat import Identity, Lifetime
from gateway.version import WORKFLOW_VERSION
from gateway.workflow.backoff import Backoff
from gateway.workflow.clock import engine_arguments
from gateway.workflow.completion import CompletionWatch
from gateway.workflow.delivery import Deliverer
from gateway.workflow.pipeline import Pipeline, register_queues
from gateway.workflow.reporting import CommitmentReporter
from gateway.workflow.routing import Router
from gateway.workflow.segmenting import Segmenter

_log = structlog.get_logger()
_LOOK_SECONDS = 0.25
_POLL_SECONDS = 0.2
_DRAIN_SECONDS = 20
_SECONDS_PER_DAY = 86_400


def run_worker(settings: Settings, identity: Identity) -> None:
    """Work until SIGTERM; running steps then have 20 s, what remains goes on at next start."""
    configure_pynetdicom()
    store = open_store(settings, identity.name)
    models = {model.name: model for model in list_models(settings.node.models_dir)}
    rules = RuleBook(settings.node.rules_dir, nodes=settings.nodes, models=models)
    kept = settings.node.data_dir / KEPT_FOLDER
    with BundleHosts(kept=kept) as hosts, Decoders() as decoders:
        pipeline = _pipeline(settings, store, rules, hosts, decoders)
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
        threading.Thread(
            target=_warm, args=(hosts, decoders, _models_in_use(rules, models)), daemon=True
        ).start()

        def look() -> None:
            watch.look()
            reporter.look()

        Lifetime(store.processes, identity, {"models": sorted(models)}).run(_LOOK_SECONDS, look)
        pipeline.stop(_DRAIN_SECONDS)
    store.close()
    logging.shutdown()
    # Threads of workflows that wait for their next attempt would hold up an ordinary exit.
    os._exit(0)


def _pipeline(
    settings: Settings,
    store: NodeStore,
    rules: RuleBook,
    hosts: BundleHosts,
    decoders: Decoders,
) -> Pipeline:
    ae_title = settings.node.ae_title
    models_dir = settings.node.models_dir
    return Pipeline(
        store=store,
        router=Router(store, rules),
        segmenter=Segmenter(
            store,
            lambda model: load_model(models_dir, model),
            hosts,
            ae_title,
            settings.nodes,
            decoders,
        ),
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


def _models_in_use(rules: RuleBook, models: dict[str, Model]) -> list[Model]:
    """Return the models that an enabled rule runs."""
    named = {
        action.model
        for rule in rules.current().rules
        if rule.rule.enabled
        for action in rule.rule.actions
        if isinstance(action, Segment)
    }
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
