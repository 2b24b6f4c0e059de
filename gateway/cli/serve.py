"""``gateway serve``: the whole node, or one of its roles."""

import sys
from enum import StrEnum
from typing import Annotated

import structlog
import typer

from gateway.cli.common import ConfigOption, settings_file
from gateway.cli.supervisor import Supervisor
from gateway.logs import configure_logs
from gateway.settings import Settings, load_settings

_log = structlog.get_logger()


class Role(StrEnum):
    """What a process of the node does."""

    RECEIVER = "receiver"
    """Answers on the DICOM port."""
    WEB = "web"
    """Answers on the HTTP port."""
    WORKER = "worker"
    """Completes, routes, segments and delivers."""


def serve(
    config: ConfigOption = None,
    role: Annotated[Role | None, typer.Option(help="Run one role; left out, all of them.")] = None,
    name: Annotated[str | None, typer.Option(hidden=True)] = None,
    supervisor: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the node until SIGTERM.

    Logs are JSON lines on standard error and under data_dir/logs. On SIGTERM the node stops
    listening, finishes what is open within 30 s, and goes on with the rest at the next start.

    Without --role it starts receivers, web and worker as processes of their own and restarts
    one that ends. With --role it is that one, for service managers that run each by itself.

    \b
    Examples:
      gateway serve
      gateway serve --config /etc/gateway/gateway.toml --role worker
      GATEWAY_DIMSE__PORT=11113 gateway serve
    """
    file = settings_file(config)
    settings = load_settings(file)
    process = name or role or "node"
    configure_logs(process, settings.node.data_dir / "logs")
    if role is None:
        sys.exit(Supervisor(file.resolve(), settings).run(lambda: prepare(settings)))
    if supervisor is None:
        prepare(settings)
    _run_role(role, settings, process, supervisor)


def _run_role(role: Role, settings: Settings, process: str, supervisor: int | None) -> None:
    """Run one role; each imports its own libraries only, which keeps receivers small."""
    from gateway.store.heartbeat import Identity

    identity = Identity(name=process, supervisor_pid=supervisor)
    match role:
        case Role.RECEIVER:
            from gateway.dimse.receiver import run_receiver

            run_receiver(settings, identity)
        case Role.WEB:
            from gateway.web.server import run_web

            run_web(settings, identity)
        case Role.WORKER:
            from gateway.workflow.worker import run_worker

            run_worker(settings, identity)


def prepare(settings: Settings) -> None:
    """Validate everything and bring the index to this version.

    Raises:
        ConfigurationInvalid: settings, rules or models are wrong.
    """
    from gateway.store.database import Database
    from gateway.workflow.validation import validated

    for note in validated(settings).notes:
        _log.warning("configuration_note", note=note)
    settings.node.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.index_url)
    database.upgrade()
    database.close()
