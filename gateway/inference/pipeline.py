"""From the files of a series to its result objects: read, label, measure, write."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from gateway.errors import InputRefused
from gateway.inference.bundle import Model
from gateway.inference.capture import captures
from gateway.inference.decoders import Decoders
from gateway.inference.descriptor import NothingFound, Output
from gateway.inference.forms import Form, forms_for, report_form
from gateway.inference.fractional import fractional_segmentation
from gateway.inference.hosts import BundleHosts
from gateway.inference.input_volumes import read_inputs, require_modality
from gateway.inference.labelmap import label_map_segmentation
from gateway.inference.measurement import SegmentMeasure, measure
from gateway.inference.report import report
from gateway.inference.result import ResultIdentity, ResultObject, SegmentedVolume, part10
from gateway.inference.segmentation import segmentations
from gateway.inference.structures import structure_set
from gateway.inference.volume import SeriesVolume, read_volume
from gateway.inference.volume_plan import plan_volumes
from gateway.settings import ResultSettings

_EVERY_OUTPUT = ResultSettings()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WrittenObject:
    """A result object in its form, decoded and as a Part 10 file."""

    form: Form
    dataset: Dataset
    file: bytes


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SegmentationResult:
    """The objects of a series in every form that was asked for, with the measures.

    ``timings_ms`` has the stages in order: read, decode, shear where a tilted gantry was set
    upright, resample where an input was brought to another's grid, wait, preprocess, infer,
    postprocess, transfer, measure and one for each kind of object. Of a series that was split to
    several volumes, each has its objects, the names of its segments say which part they are of,
    and times are of all.
    """

    objects: tuple[WrittenObject, ...]
    segments: tuple[SegmentMeasure, ...]
    timings_ms: dict[str, float]


def segment_series(
    paths: Sequence[Path],
    model: Model,
    hosts: BundleHosts,
    identity: ResultIdentity,
    nodes: Sequence[ResultSettings] = (),
    decoders: Decoders | None = None,
    asked_at: float | None = None,
    others: Mapping[str, Sequence[Path]] = MappingProxyType({}),
) -> SegmentationResult:
    """Segment one series of Part 10 files by a model, and write what these nodes take.

    Without any node, every output of the model's descriptor is written in its first form; without
    ``decoders``, this process decodes the pixels itself. ``asked_at`` (Unix time) is since when
    the series waits for its turn; now where it is not given. For a model of several inputs,
    ``paths`` are those of its first one, and ``others`` those of each further one by its name.

    Raises GeometryRefused, InputRefused or DataSetUnreadable for a series that the model does
    not take, ModelFailed when the bundle fails, BundleHostLost when its process ends.
    """
    nodes = nodes or (_EVERY_OUTPUT,)
    results = [
        _segment(volume, model, hosts, identity, nodes, asked_at)
        for volume in _volumes(paths, others, model, decoders)
    ]
    if len(results) == 1:
        return results[0]
    timings_ms: dict[str, float] = {}
    for stage, ms in chain.from_iterable(result.timings_ms.items() for result in results):
        timings_ms[stage] = timings_ms.get(stage, 0) + ms
    return SegmentationResult(
        objects=tuple(chain.from_iterable(result.objects for result in results)),
        segments=tuple(chain.from_iterable(result.segments for result in results)),
        timings_ms=timings_ms,
    )


def _volumes(
    paths: Sequence[Path],
    others: Mapping[str, Sequence[Path]],
    model: Model,
    decoders: Decoders | None,
) -> Iterator[SeriesVolume]:
    """Read what the model takes, a volume at a time."""
    if model.descriptor.inputs:
        first = model.descriptor.inputs[0].name
        yield read_inputs({first: paths, **others}, model, decoders)
        return
    for plan in plan_volumes(paths, model.descriptor.input):
        yield read_volume(plan, decoders)


def require_input(volume: SeriesVolume, model: Model) -> None:
    """Raise InputRefused unless the series is of the modality and size that the model takes."""
    require_modality(volume.sources[0], model)
    slices, fewest = len(volume.sources), model.descriptor.minimum_slices
    if slices < fewest:
        raise InputRefused(
            f"the series has {slices} slices, and model {model.name} needs at least {fewest}"
        )


def wanted_forms(
    model: Model, nodes: Sequence[ResultSettings], *, is_empty: bool
) -> tuple[Form, ...]:
    """Return the forms to write for these nodes, each once, reports after what they refer to."""
    descriptor = model.descriptor
    if is_empty and descriptor.nothing_found is NothingFound.NOTHING:
        return ()
    if is_empty and descriptor.nothing_found is NothingFound.REPORT:
        forms = chain.from_iterable(report_form(node) for node in nodes)
    else:
        forms = chain.from_iterable(forms_for(descriptor.outputs, node) for node in nodes)
    return tuple(sorted(dict.fromkeys(forms), key=lambda form: form.output is Output.SR))


def _segment(
    volume: SeriesVolume,
    model: Model,
    hosts: BundleHosts,
    identity: ResultIdentity,
    nodes: Sequence[ResultSettings],
    asked_at: float | None,
) -> SegmentationResult:
    require_input(volume, model)
    inference = hosts.segment(model, volume, asked_at)
    forms = wanted_forms(model, nodes, is_empty=not any(inference.voxels.values()))
    started = time.perf_counter()
    segmented = SegmentedVolume(
        volume=volume,
        label_map=volume.on_sources(inference.label_map),
        model=model,
        identity=identity,
        probabilities=_on_sources(volume, inference.probabilities),
        forms=forms,
    )
    is_reported = any(form.output is Output.SR for form in forms)
    measures = measure(segmented, inference.label_map, everything=is_reported)
    timings_ms = {**volume.timings_ms, **inference.timings_ms, "measure": _since(started)}
    written: list[WrittenObject] = []
    made: list[ResultObject] = []
    for form in forms:
        started = time.perf_counter()
        for one in objects_of(segmented, form, measures, made):
            made.append(one)
            file = part10(one.dataset)
            written.append(WrittenObject(form=form, dataset=one.dataset, file=file))
        stage = form.output.value
        timings_ms[stage] = timings_ms.get(stage, 0) + _since(started)
    return SegmentationResult(objects=tuple(written), segments=measures, timings_ms=timings_ms)


def _on_sources(
    volume: SeriesVolume, probabilities: npt.NDArray[np.uint8] | None
) -> npt.NDArray[np.uint8] | None:
    """Bring each channel to the slices as they were made; most volumes lie there already."""
    if probabilities is None or volume.shear is None:
        return probabilities
    return np.stack([volume.on_sources(channel) for channel in probabilities])


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def objects_of(
    segmented: SegmentedVolume,
    form: Form,
    measures: Sequence[SegmentMeasure],
    made: Sequence[ResultObject],
) -> Iterator[ResultObject]:
    """Make the objects of one form; a report refers to those of ``made`` that it is about.

    Of a secondary capture there are several, of a segmentation too where it has a most of
    frames, of all else one.
    """
    match form.output:
        case Output.SEG:
            yield from segmentations(segmented, form)
        case Output.LABELMAP:
            yield label_map_segmentation(segmented, form)
        case Output.FRACTIONAL:
            yield fractional_segmentation(segmented, form)
        case Output.SC:
            yield from captures(segmented, form, measures)
        case Output.RTSTRUCT:
            yield structure_set(segmented, form)
        case Output.SR:
            about = [one for one in made if one.form == form.about]
            yield report(segmented, form, measures, about)
