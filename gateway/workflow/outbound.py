"""Instances in the form in which a job sends them: as kept, de-identified, or with their names."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from gateway.dicom.deidentification import (
    ChangedInstance,
    KeptInstance,
    Original,
    deidentified,
    reidentified,
)
from gateway.dicom.part10 import file_header
from gateway.dicom.reasons import named
from gateway.dicom.text import folded
from gateway.dimse.user import Outgoing
from gateway.errors import DeidentificationRefused, NotFound
from gateway.store import IdentityChange, Instance, Job, NodeStore
from gateway.store.filesystem import store_errors
from gateway.store.jobs import OPEN_STATES


class Outbound:
    """Prepares what jobs send; the one door at which identities change.

    ``words`` are those that descriptions keep beside the vocabulary.
    """

    def __init__(self, store: NodeStore, words: Collection[str] = ()) -> None:
        self._store = store
        self._words = frozenset(map(folded, words))

    @contextmanager
    def prepared(self, job: Job, instances: Sequence[Instance]) -> Iterator[Mapping[str, Outgoing]]:
        """Give what a job sends, by the SOP Instance UIDs under which the instances are kept.

        Where identities change, the files are under ``data_dir/outgoing`` until the block ends,
        and what the pseudonyms stand for is durable before it begins. Either all instances are
        prepared or none.

        Raises:
            DeidentificationRefused: instances that may say whose they are, all of them named.
            PseudonymUnknown: an object that is not of a study of this node.
            KeyUnusable: the key of pseudonyms is gone or cannot be used.
            StoreFull, StoreUnavailable: no room for the files.
        """
        if job.identity_change is None:
            yield {one.sop_instance_uid: self._as_kept(one) for one in instances}
            return
        with self._store.outgoing.of(job.id) as folder:
            if job.identity_change is IdentityChange.DEIDENTIFY_BASIC:
                yield self._deidentified(instances, folder)
            else:
                yield self._reidentified(instances, folder)

    def _as_kept(self, instance: Instance) -> Outgoing:
        return Outgoing(
            path=self._store.objects.path(instance.object_key),
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
        )

    def _deidentified(self, instances: Sequence[Instance], folder: Path) -> dict[str, Outgoing]:
        pseudonyms, today = self._store.pseudonyms.pseudonyms(), date.today()
        outgoing: dict[str, Outgoing] = {}
        originals: list[Original] = []
        refused: list[DeidentificationRefused] = []
        for instance in instances:
            try:
                changed = deidentified(self._kept(instance), pseudonyms, today, self._words)
            except DeidentificationRefused as error:
                refused.append(error)
                continue
            originals.extend(changed.originals)
            outgoing[instance.sop_instance_uid] = _written(folder, instance, changed)
        if refused:
            raise _all_of(refused, len(instances))
        self._store.pseudonyms.remember(originals)
        return outgoing

    def _reidentified(self, instances: Sequence[Instance], folder: Path) -> dict[str, Outgoing]:
        known = self._store.pseudonyms
        pseudonyms = known.pseudonyms()
        return {
            instance.sop_instance_uid: _written(
                folder, instance, reidentified(self._kept(instance), pseudonyms, known.find)
            )
            for instance in instances
        }

    def _kept(self, instance: Instance) -> KeptInstance:
        with self._store.objects.open_data_set(instance.object_key) as file:
            return KeptInstance(
                data_set=file.read(),
                transfer_syntax_uid=instance.transfer_syntax_uid,
                sop_class_uid=instance.sop_class_uid,
                sop_instance_uid=instance.sop_instance_uid,
            )


def discard_left(store: NodeStore) -> None:
    """Delete what a killed worker left of jobs that nobody will carry on."""
    for job_id in store.outgoing.left():
        try:
            is_open = store.jobs.get(job_id).state in OPEN_STATES
        except NotFound:
            is_open = False
        if not is_open:
            store.outgoing.discard(job_id)


def _written(folder: Path, kept: Instance, changed: ChangedInstance) -> Outgoing:
    """Write an instance in its new form; its file is named by what it is kept as."""
    path = folder / f"{kept.object_key}.dcm"
    header = file_header(kept.sop_class_uid, changed.sop_instance_uid, kept.transfer_syntax_uid)
    with store_errors():
        path.write_bytes(header + changed.data_set)
    return Outgoing(
        path=path,
        sop_instance_uid=changed.sop_instance_uid,
        sop_class_uid=kept.sop_class_uid,
        transfer_syntax_uid=kept.transfer_syntax_uid,
    )


def _all_of(refused: Sequence[DeidentificationRefused], number: int) -> DeidentificationRefused:
    """Return one error for all instances of a job that may not leave."""
    details = []
    for reason, detail in dict.fromkeys((one.reason, one.detail) for one in refused):
        uids = [uid for one in refused if one.reason == reason for uid in one.instances]
        details.append(f"{len(uids)} of {number} instances, {detail}{named(uids)}")
    every = [uid for one in refused for uid in one.instances]
    return DeidentificationRefused(refused[0].reason, "; ".join(details), every)
