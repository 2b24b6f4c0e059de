"""What a job sends to a data store: kept instances, and what goes out of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from gateway.healthimaging.outgoing import Outgoing, dicom_file, kept_instance
from gateway.store import Instance, Job, NodeStore
from gateway.workflow.outbound import Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class Goods:
    """Instances, by the SOP Instance UIDs of what goes out."""

    outgoing: Mapping[str, Outgoing]
    kept: Mapping[str, Instance]

    @classmethod
    def of(
        cls, store: NodeStore, job: Job, instances: Sequence[Instance], prepared: Prepared
    ) -> Self:
        """Take kept instances in the form in which a job sends them."""
        names = {one.series_instance_uid for one in instances}
        studies = {name: store.series.get(name).study_instance_uid for name in names}
        outgoing: dict[str, Outgoing] = {}
        kept: dict[str, Instance] = {}
        for instance in instances:
            path = prepared.instances[instance.sop_instance_uid].path
            if job.identity_change is None:
                made = kept_instance(
                    path,
                    study_instance_uid=studies[instance.series_instance_uid],
                    series_instance_uid=instance.series_instance_uid,
                )
            else:
                made = replace(dicom_file(path), kept_uid=instance.sop_instance_uid)
            outgoing[made.sop_instance_uid] = made
            kept[made.sop_instance_uid] = instance
        return cls(outgoing=outgoing, kept=kept)

    def named(self, uids: Iterable[str]) -> list[Outgoing]:
        """Return what goes out under these UIDs; one that is no longer kept is left out."""
        return [self.outgoing[uid] for uid in uids if uid in self.outgoing]

    def key(self, uid: str) -> str:
        """Return the key of the kept content of an instance."""
        return self.kept[uid].object_key

    def unchanged(self, keys: Mapping[str, str]) -> frozenset[str]:
        """Return the instances whose kept content still has the key that is given for them."""
        return frozenset(
            uid for uid, key in keys.items() if uid in self.kept and self.key(uid) == key
        )
