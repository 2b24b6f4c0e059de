"""The commands and their groups."""

import typer

from gateway.cli import check, demo, init, jobs, models, rules, series, serve, transfer

app = typer.Typer(
    name="gateway",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A DICOM gateway: it keeps the series that a PACS sends, runs segmentation models on "
    "those that rules select, and returns DICOM SEG objects to the PACS.",
    epilog="Begin with `gateway demo`; then `gateway init`, `gateway check`, `gateway serve`.",
)

app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("check")(check.check)
app.command("serve")(serve.serve)
app.command("echo")(transfer.echo_node)
app.command("send")(transfer.send_files)
app.add_typer(rules.app, name="rules")
app.add_typer(models.app, name="models")
app.add_typer(series.app, name="series")
app.add_typer(jobs.app, name="jobs")
