"""Running a model on a kept series and keeping what it made."""

from collections.abc import Callable
from datetime import datetime
from io import BytesIO

from gateway.dicom.header import read_header
from gateway.dicom.part10 import seek_data_set
from gateway.errors import InputRefused
from gateway.inference import (
    BundleHosts,
    Model,
    ResultIdentity,
    SegmentationResult,
    input_digest,
    segment_series,
)
from gateway.store import Instance, Job, JobState, NodeStore, Offer, Origin
from gateway.version import VERSION
from gateway.workflow.attempt import Attempt


class Segmenter:
    """Carries out ``segment`` jobs; the same job on the same instances makes the same object."""

    def __init__(
        self,
        store: NodeStore,
        model_named: Callable[[str], Model],
        hosts: BundleHosts,
        ae_title: str,
    ) -> None:
        self._store = store
        self._model_named = model_named
        self._hosts = hosts
        self._ae_title = ae_title

    def attempt(self, job: Job) -> Attempt:
        """Segment the series and keep the SEG.

        Raises:
            GeometryRefused, InputRefused, DataSetUnreadable: the model does not take the series.
            ModelFailed: the bundle failed on it.
            BundleHostLost: the model's process ended; another attempt may succeed.
        """
        instances = [
            instance
            for instance in self._store.instances.of_series(job.series_instance_uid)
            if instance.current
        ]
        if not instances:
            raise InputRefused(f"series {job.series_instance_uid} holds no instance")
        result = segment_series(
            [self._store.objects.path(instance.object_key) for instance in instances],
            self._model_named(job.model or ""),
            self._hosts,
            self._identity(job, instances),
        )
        return Attempt(
            state=JobState.DONE,
            results=(self._keep(result),),
            segments=tuple(
                {"label": one.label, "voxels": one.voxels, "ml": round(one.ml, 3)}
                for one in result.segments
            ),
            timings_ms={stage: round(ms, 1) for stage, ms in result.timings_ms.items()},
        )

    def _identity(self, job: Job, instances: list[Instance]) -> ResultIdentity:
        """Name the result after its input; date it by the job, so that a repetition is equal."""
        return ResultIdentity(
            input_digest=input_digest(instance.object_key for instance in instances),
            rule=job.rule,
            created=datetime.fromtimestamp(int(job.created_at)),
            software_version=VERSION,
            device_serial_number=self._ae_title,
        )

    def _keep(self, result: SegmentationResult) -> str:
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
