"""The series in a folder of DICOM files, and which of them a model takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag

from gateway.cli.transfer import files_under
from gateway.errors import InputRefused, NotFound
from gateway.inference import Model
from gateway.rules import SeriesFacts
from gateway.workflow.inputs import Candidate, InputRules


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFiles:
    """The files of one input, and the series that they are."""

    series_instance_uid: str
    paths: list[Path]


def inputs_in(folder: Path, model: Model) -> dict[str, InputFiles]:
    """Find the files of each input of a model by its name, the first one first.

    Raises:
        NotFound: there is no DICOM in the folder.
        InputRefused: there are several series where the model takes one, several studies, or
            none, or more than one, that an input is.
    """
    series = _series_in(folder)
    if model.descriptor.inputs:
        chosen = _chosen(folder, series, model)
    elif len(series) == 1:
        chosen = {model.descriptor.input_key: next(iter(series))}
    else:
        raise InputRefused(f"{folder} holds {len(series)} series; give a folder with one of them")
    return {
        name: InputFiles(series_instance_uid=uid, paths=series[uid]) for name, uid in chosen.items()
    }


def _series_in(folder: Path) -> dict[str, list[Path]]:
    series: dict[str, list[Path]] = {}
    for path in files_under([folder]):
        try:
            header = dcmread(path, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True)
        except InvalidDicomError:
            continue
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(path)
    if not series:
        raise NotFound(f"no DICOM files under {folder}")
    return series


def _chosen(folder: Path, series: Mapping[str, list[Path]], model: Model) -> Mapping[str, str]:
    """Choose among the series of a study by the conditions that the node goes by, too."""
    rules = InputRules.of(model)
    named = map(Tag, ("StudyInstanceUID", "Modality"))
    tags = [*named, *map(Tag, rules.tags)]
    headers = {
        uid: [dcmread(path, specific_tags=tags, stop_before_pixels=True) for path in paths]
        for uid, paths in series.items()
    }
    studies = {str(one.get("StudyInstanceUID", "")) for found in headers.values() for one in found}
    if len(studies) > 1:
        raise InputRefused(f"{folder} holds {len(studies)} studies; give a folder with one of them")
    candidates = [
        Candidate(series_instance_uid=uid, facts=_facts(found))
        for uid, found in headers.items()
        if str(found[0].get("Modality", "")) in model.descriptor.modality
    ]
    choice = rules.choose(candidates)
    if choice.missing:
        raise InputRefused(
            f"none of the {len(series)} series in {folder} is {', '.join(choice.missing)}, which "
            f"model {model.name} takes"
        )
    return choice.chosen


def _facts(headers: Sequence[Dataset]) -> SeriesFacts:
    syntaxes = [str(one.file_meta.get("TransferSyntaxUID", "")) for one in headers]
    return SeriesFacts.from_datasets(headers, source="file", transfer_syntaxes=syntaxes)
