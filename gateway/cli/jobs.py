"""``gateway jobs``."""

from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.common import ConfigOption, JsonOption, console, node_store, print_json
from gateway.cli.series import job_json
from gateway.errors import Permanent
from gateway.store import JobState

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What waits, what ran, what needs a person."
)
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]


@app.command("list")
def list_jobs(
    config: ConfigOption = None,
    json: JsonOption = False,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
) -> None:
    """List the jobs, the newest first.

    States: queued, running, waiting (for the next attempt, or for series of the study), done,
    refused (the input is not what the action takes), dead (given up; see `gateway jobs retry`).

    \b
    Examples:
      gateway jobs list
      gateway jobs list --state waiting
      gateway jobs list --state dead --json
    """
    with node_store(config) as store:
        found = store.jobs.all(state=state)
    if json:
        print_json([job_json(job) for job in found])
        return
    table = Table("job", "action", "node", "model", "state", "attempts", "error or warning")
    for job in found:
        table.add_row(
            job.id,
            job.action,
            job.node or "",
            job.model or "",
            job.state,
            str(job.attempts),
            job.error or job.warning,
        )
    console().print(table)


@app.command("show")
def show(job: JobArgument, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show one job."""
    with node_store(config) as store:
        described = job_json(store.jobs.get(job))
    if json:
        print_json(described)
        return
    for key, value in described.items():
        print(f"{key:20} {value}")


@app.command("retry")
def retry(job: JobArgument, config: ConfigOption = None) -> None:
    """Start a dead or refused job again."""
    with node_store(config) as store:
        state = store.jobs.get(job).state
        if not store.jobs.retry(job):
            raise Permanent(f"job {job} is {state}; only dead and refused jobs are retried")
    print(f"job {job} is queued again")


@app.command("cancel")
def cancel(job: JobArgument, config: ConfigOption = None) -> None:
    """Give up a job that has not ended; what a peer already has stays there."""
    with node_store(config) as store:
        state = store.jobs.get(job).state
        if not store.jobs.cancel(job):
            raise Permanent(f"job {job} is {state} already")
    print(f"job {job} is cancelled")
