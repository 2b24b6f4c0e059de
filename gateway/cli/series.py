"""``gateway series``."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.cli.common import ConfigOption, JsonOption, console, node_store, print_json
from gateway.errors import NotFound
from gateway.store import Job, NodeStore, Series, SeriesState
from gateway.store.pulls import Pull

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What this node received and what became of it.",
)


@app.command("list")
def list_series(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List the series this node knows, the last active one first.

    States: receiving (instances may still come), complete (actions are being carried out), done,
    failed (a job was refused or given up; `gateway series show` says why)."""
    with node_store(config) as store:
        found = store.series.all()
    if json:
        print_json([_listed(series) for series in found])
        return
    table = Table("series", "study", "modality", "instances", "state", "revision", "last activity")
    for series in found:
        table.add_row(
            series.series_instance_uid,
            series.study_instance_uid,
            series.modality,
            str(series.instances),
            series.state,
            str(series.revision),
            _time(series.last_activity_at),
        )
    console().print(table)


@app.command("show")
def show(
    uid: Annotated[str, typer.Argument(metavar="UID", help="Series Instance UID.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show one series: why it was held complete, what the rules said, its jobs and image sets.

    What was pulled of it, and why an instance could not be. Its files too, in JSON.

    A refused job says what is wrong with the series and which instances show it.

    \b
    Examples:
      gateway series show 1.2.840.113619.2.55.3
      gateway series show 1.2.840.113619.2.55.3 --json
    """
    with node_store(config) as store:
        described = describe(store, uid)
    if json:
        print_json(described)
    else:
        _print(described)


def describe(store: NodeStore, uid: str) -> dict[str, Any]:
    """Return all that is known of a series, in the form that ``show --json`` prints."""
    series = _series(store, uid)
    return {
        **_listed(series),
        "expected_instances": series.expected_instances,
        "expected_by": series.expected_by,
        "completed_because": series.completed_because,
        "completed_at": _time(series.completed_at),
        "first_activity_at": _time(series.first_activity_at),
        "last_activity_at": _time(series.last_activity_at),
        "calling_ae": series.calling_ae,
        "called_ae": series.called_ae,
        "source": series.source,
        "files": [
            {
                "sop_instance_uid": instance.sop_instance_uid,
                "sop_class_uid": instance.sop_class_uid,
                "transfer_syntax_uid": instance.transfer_syntax_uid,
                "sha256": instance.sha256,
                "bytes": instance.size_bytes,
                "path": str(store.objects.path(instance.object_key)),
                "current": instance.current,
            }
            for instance in store.instances.of_series(uid)
        ],
        "decision": store.series.decision(uid),
        "jobs": [job_json(job) for job in store.jobs.of_series(uid)],
        "image_sets": [asdict(one) for one in store.image_sets.of_series(uid)],
        "pulls": [_pulled(one) for one in store.pulls.of_series(uid)],
    }


def _pulled(pull: Pull) -> dict[str, Any]:
    """Return an image set that was fetched; where all of it was sent from here, nothing came."""
    return {
        "source": pull.source,
        "image_set_id": pull.image_set_id,
        "version": pull.version,
        "state": pull.state,
        "attempts": pull.attempts,
        "instances": len(pull.instances),
        "failures": dict(pull.failures),
        "error": pull.error,
    }


def _series(store: NodeStore, uid: str) -> Series:
    """Return a series; raises NotFound, with the reason where none of it could be pulled."""
    try:
        return store.series.get(uid)
    except NotFound as error:
        for pull in store.pulls.of_series(uid):
            for why in (*filter(None, [pull.error]), *pull.failures.values()):
                what = f"image set {pull.image_set_id} of source {pull.source}"
                raise NotFound(f"{error}; {what} could not be pulled: {why}") from error
        raise


def job_json(job: Job) -> dict[str, Any]:
    """Return a job in the form that ``--json`` prints."""
    return {
        **asdict(job),
        "created_at": _time(job.created_at),
        "queued_at": _time(job.queued_at),
        "updated_at": _time(job.updated_at),
        "waits_until": _time(job.waits_until),
    }


def _listed(series: Series) -> dict[str, Any]:
    return {
        "series_instance_uid": series.series_instance_uid,
        "study_instance_uid": series.study_instance_uid,
        "modality": series.modality,
        "instances": series.instances,
        "state": series.state,
        "revision": series.revision,
    }


def _print(described: dict[str, Any]) -> None:
    print(f"series    {described['series_instance_uid']}")
    print(f"study     {described['study_instance_uid']}")
    print(f"state     {described['state']} (revision {described['revision']})")
    print(f"holds     {described['instances']} instances of modality {described['modality']}")
    sender = f"{described['calling_ae']} by " if described["calling_ae"] else ""
    print(f"from      {sender}{described['source']}")
    print(f"complete  {_completion(described)}")
    superseded = sum(not file["current"] for file in described["files"])
    if superseded:
        print(f"conflict  {superseded} superseded contents under a SOP Instance UID sent again")
    print("rules")
    for outcome in described["decision"]:
        print(f"  {'matches' if outcome['matched'] else 'no match'}: {outcome['rule']}")
        for reason in outcome["reasons"]:
            print(f"    {reason}")
    print("jobs")
    for job in described["jobs"]:
        target = job["node"] if job["action"] != "segment" else job["model"]
        said = job["error"] or job["warning"]
        print(f"  {job['id']}  {job['action']} {target}: {job['state']}  {said}".rstrip())
    if described["image_sets"]:
        print("image sets")
    for one in described["image_sets"]:
        kind = "primary" if one["is_primary"] else "not primary: DICOMweb does not show it"
        print(
            f"  {one['image_set_id']} at {one['node']}: {one['instances']} instances, "
            f"version {one['version']}, {kind}"
        )
    _print_pulls(described["pulls"])


def _print_pulls(pulls: list[dict[str, Any]]) -> None:
    """Print what was pulled of a series, and why some of it was not."""
    told = [one for one in pulls if one["instances"] or one["failures"] or one["error"]]
    if told:
        print("pulled")
    for one in told:
        print(
            f"  {one['image_set_id']} of source {one['source']}: {one['instances']} instances, "
            f"version {one['version']}, {one['state']}  {one['error']}".rstrip()
        )
        for uid, reason in one["failures"].items():
            print(f"    not {uid}: {reason}")


def _completion(described: dict[str, Any]) -> str:
    """Return why a series is complete, or what is known of one that is still receiving."""
    if described["state"] != SeriesState.RECEIVING:
        return str(described["completed_because"])
    if described["expected_instances"] is None:
        return "not yet"
    return f"not yet; {described['expected_by']} counts {described['expected_instances']} instances"


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
