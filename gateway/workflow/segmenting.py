"""Running a model on a kept series and keeping what it made."""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from io import BytesIO
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.dicom.header import read_header
from gateway.dicom.part10 import seek_data_set
from gateway.errors import InputRefused
from gateway.inference import (
    BundleHosts,
    Decoders,
    MadeObject,
    Model,
    ResultIdentity,
    SegmentMeasure,
    WrittenObject,
    input_digest,
    segment_series,
)
from gateway.settings import Node, ResultSettings
from gateway.store import Instance, Job, JobAction, JobState, NodeStore, Offer, Origin
from gateway.version import VERSION
from gateway.workflow.attempt import Attempt
from gateway.workflow.study_inputs import JobInputs, StudyInputs


class Segmenter:
    """Carries out ``segment`` jobs; the same job on the same instances makes the same objects.

    ``nodes`` say in which forms they get results; one that is not among them gets the usual ones.
    Without ``decoders``, this process decodes pixels itself.
    """

    def __init__(
        self,
        store: NodeStore,
        model_named: Callable[[str], Model],
        hosts: BundleHosts,
        ae_title: str,
        nodes: Mapping[str, Node] = MappingProxyType({}),
        decoders: Decoders | None = None,
    ) -> None:
        self._store = store
        self._decoders = decoders
        self._nodes = nodes
        self._model_named = model_named
        self._hosts = hosts
        self._ae_title = ae_title

    def attempt(self, job: Job) -> Attempt:
        """Segment the series and keep what was made of it for the job's nodes.

        A model that takes several series gets them once all are complete; until then the job
        waits, for as long as the model's descriptor says.

        Raises:
            GeometryRefused, InputRefused, DataSetUnreadable: the model does not take the series.
            ModelFailed: the bundle failed on it.
            BundleHostLost: the processes were closed meanwhile; another attempt may succeed.
        """
        model = self._model_named(job.model or "")
        inputs = StudyInputs(self._store).of(job, model)
        if inputs.missing:
            return _waiting(job, model, inputs)
        first, *others = (self._store.instances.current_of_series(uid) for uid in inputs.series)
        if not first:
            raise InputRefused(f"series {job.series_instance_uid} holds no instance")
        result = segment_series(
            self._paths(first),
            model,
            self._hosts,
            self._identity(job, list(chain(first, *others))),
            [results_of(self._nodes.get(name)) for name in job.send_to],
            self._decoders,
            asked_at=job.queued_at,
            others=dict(zip(inputs.other_names, map(self._paths, others), strict=True)),
        )
        return Attempt(
            state=JobState.DONE,
            results=tuple(self._keep(one) for one in result.objects),
            segments=tuple(measures_json(result.segments)),
            timings_ms={stage: round(ms, 1) for stage, ms in result.timings_ms.items()},
        )

    def _paths(self, instances: Iterable[Instance]) -> list[Path]:
        return [self._store.objects.path(instance.object_key) for instance in instances]

    def _identity(self, job: Job, instances: list[Instance]) -> ResultIdentity:
        """Name the result after its input; date it by the job, so that a repetition is equal."""
        return ResultIdentity(
            input_digest=input_digest(instance.object_key for instance in instances),
            rule=job.rule,
            created=datetime.fromtimestamp(int(job.created_at)),
            software_version=VERSION,
            device_serial_number=self._ae_title,
            revision=job.revision,
            predecessors=tuple(self._predecessors(job)),
        )

    def _predecessors(self, job: Job) -> Iterable[MadeObject]:
        """Return what this rule's model made of the last earlier revision that it could segment."""
        earlier = [
            one
            for one in self._store.jobs.of_series(job.series_instance_uid)
            if one.action is JobAction.SEGMENT
            and (one.rule, one.model) == (job.rule, job.model)
            and one.revision < job.revision
            and one.results
        ]
        if not earlier:
            return ()
        last = max(earlier, key=lambda one: one.revision)
        found = (self._store.instances.current(uid) for uid in last.results)
        return tuple(made_object(instance) for instance in found if instance is not None)

    def _keep(self, result: WrittenObject) -> str:
        transfer_syntax_uid = str(result.dataset.file_meta.TransferSyntaxUID)
        file = BytesIO(result.file)
        seek_data_set(file)
        data_set = file.read()
        header = read_header(data_set, transfer_syntax_uid)
        self._store.intake.keep_known(
            Offer(
                data_set=data_set,
                transfer_syntax_uid=transfer_syntax_uid,
                sop_class_uid=header.sop_class_uid,
                sop_instance_uid=header.sop_instance_uid,
            ),
            header,
            Origin(calling_ae=self._ae_title, called_ae=self._ae_title, source="result"),
        )
        return header.sop_instance_uid


def _waiting(job: Job, model: Model, inputs: JobInputs) -> Attempt:
    """Let a job wait for its inputs; raises InputRefused where it has waited long enough."""
    names = ", ".join(inputs.missing)
    seconds = model.descriptor.inputs_within_seconds
    if time.time() >= job.queued_at + seconds:
        raise InputRefused(
            f"no complete series of the study was {names} within {seconds:g} s; model "
            f"{model.name} takes {', '.join(one.name for one in model.descriptor.inputs)}"
        )
    return Attempt(
        state=JobState.WAITING,
        error=f"waits for {names} of the study",
        waits_until=job.queued_at + seconds,
        waits_beyond=inputs.study_revisions,
    )


def results_of(node: Node | None) -> ResultSettings:
    """Return in which forms a node gets results; one of no such settings gets the usual ones."""
    settings = getattr(node, "results", None)
    return settings if isinstance(settings, ResultSettings) else ResultSettings()


def made_object(instance: Instance) -> MadeObject:
    """Return what names an instance that a model made."""
    return MadeObject(
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        series_instance_uid=instance.series_instance_uid,
    )


def measures_json(measures: Iterable[SegmentMeasure]) -> Iterable[dict[str, Any]]:
    """Return what a job says of each segment; what was not measured is left out."""
    for one in measures:
        more = {
            "longest_axis_mm": one.longest_axis_mm,
            "mean": one.mean,
            "deviation": one.deviation,
        }
        yield {
            "label": one.label,
            "voxels": one.voxels,
            "ml": round(one.ml, 3),
            **{name: round(value, 3) for name, value in more.items() if value is not None},
        }
