"""``gateway rules``."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from gateway.cli.common import ConfigOption, JsonOption, print_json, read_settings
from gateway.cli.transfer import files_under
from gateway.errors import NotFound
from gateway.rules import RuleSet, SeriesFacts
from gateway.workflow.validation import validated

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The rules that choose what happens to a series.",
)


@app.callback()
def _group() -> None:
    """Keep ``test`` a word of its own while it is the only one."""


@app.command("test")
def try_rules(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    config: ConfigOption = None,
    json: JsonOption = False,
    calling_ae: Annotated[str, typer.Option(help="Who would have sent them.")] = "",
) -> None:
    """Show which rules match these DICOM files, which do not, and why; nothing is sent.

    Files are grouped by series, as the node would see them.

    \b
    Examples:
      gateway rules test ~/ct
      gateway rules test ~/ct --calling-ae CT1 --json
    """
    rules = validated(read_settings(config)).rules
    decided = [
        _decided(uid, datasets, rules, calling_ae)
        for uid, datasets in _series_of(files_under(paths)).items()
    ]
    if not decided:
        raise NotFound(f"no DICOM files under {', '.join(map(str, paths))}")
    if json:
        print_json(decided)
        return
    for one in decided:
        print(f"series {one['series_instance_uid']}: {one['instances']} instances")
        for outcome in one["decision"]:
            print(f"  {'matches' if outcome['matched'] else 'no match'}: {outcome['rule']}")
            for reason in outcome["reasons"]:
                print(f"    {reason}")


def _series_of(files: Iterable[Path]) -> dict[str, list[Dataset]]:
    series: dict[str, list[Dataset]] = defaultdict(list)
    for path in files:
        try:
            dataset = dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, EOFError):
            continue
        series[str(dataset.get("SeriesInstanceUID", ""))].append(dataset)
    return series


def _decided(uid: str, datasets: list[Dataset], rules: RuleSet, calling_ae: str) -> dict[str, Any]:
    facts = SeriesFacts.from_datasets(
        datasets,
        calling_ae=calling_ae,
        source="file",
        transfer_syntaxes=[str(one.file_meta.get("TransferSyntaxUID", "")) for one in datasets],
        tags=rules.keywords,
    )
    return {
        "series_instance_uid": uid,
        "instances": len(datasets),
        "decision": rules.decide(facts).to_json(),
    }
