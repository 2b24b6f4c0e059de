"""``gateway serve``: the whole node, or one of its roles."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from gateway.cli.common import ConfigOption, settings_file
from gateway.cli.supervisor import Supervisor
from gateway.logs import configure_logs
from gateway.settings import Settings, load_settings

if TYPE_CHECKING:
    from gateway.store.heartbeat import Identity

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
    listener: Annotated[int | None, typer.Option(hidden=True)] = None,
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
    from gateway.store.heartbeat import Identity

    _run_role(role, settings, Identity(name=process, supervisor_pid=supervisor), listener)


def _run_role(role: Role, settings: Settings, identity: "Identity", listener: int | None) -> None:
    """Run one role; each imports its own libraries only, which keeps receivers small."""
    match role:
        case Role.RECEIVER:
            from gateway.dimse.receiver import run_receiver

            run_receiver(settings, identity, listener)
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
