"""The workflow engine (DBOS Transact) as the worker runs it."""

import logging
from collections.abc import Iterable

from dbos import DBOS, DBOSConfig
from dbos._serialization import DBOSPortableJSONSerializer

from gateway.settings import Settings
from gateway.version import WORKFLOW_VERSION
from gateway.workflow.clock import engine_arguments
from gateway.workflow.pipeline import register_queues

_POLL_SECONDS = 0.2


def launch_engine(settings: Settings, nodes: Iterable[str]) -> None:
    """Start the engine, with a queue for each node; it goes on with what a killed worker left.

    The pipeline whose workflows it runs must be made before.
    """
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
    register_queues(nodes, _POLL_SECONDS)
