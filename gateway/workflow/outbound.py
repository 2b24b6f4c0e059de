"""Instances in the form in which a job sends them: as kept, de-identified, or with their names."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from gateway.dicom.deidentification import (
    ChangedInstance,
    KeptInstance,
    Original,
    deidentified,
    reidentified,
)
from gateway.dicom.part10 import file_header, read_file_meta
from gateway.dicom.reasons import named
from gateway.dicom.text import folded
from gateway.dimse.user import Outgoing
from gateway.errors import DeidentificationRefused
from gateway.store import IdentityChange, Instance, Job, NodeStore
from gateway.store.filesystem import store_errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What a job sends, by the SOP Instance UIDs under which the instances are kept.

    ``keep`` lets files that were made for the job stay for its next attempt.
    """

    instances: Mapping[str, Outgoing]
    keep: Callable[[], None] = lambda: None


class Outbound:
    """Prepares what jobs send; the one door at which identities change.

    ``words`` are those that descriptions keep beside the vocabulary.
    """

    def __init__(self, store: NodeStore, words: Collection[str] = ()) -> None:
        self._store = store
        self._words = frozenset(map(folded, words))

    @contextmanager
    def prepared(self, job: Job, instances: Sequence[Instance]) -> Iterator[Prepared]:
        """Give what a job sends.

        Where identities change, the files are under ``data_dir/outgoing`` until the block ends,
        or longer if they are kept, and what the pseudonyms stand for is durable before it begins.
        Either all instances are prepared or none.

        Raises:
            DeidentificationRefused: instances that may say whose they are, all of them named.
            PseudonymUnknown: an object that is not of a study of this node.
            KeyUnusable: the key of pseudonyms is gone or cannot be used.
            StoreFull, StoreUnavailable: no room for the files.
        """
        if job.identity_change is None:
            yield Prepared(
                instances={one.sop_instance_uid: self._as_kept(one) for one in instances}
            )
            return
        made = {one.sop_instance_uid: _file_name(one) for one in instances}
        fill = partial(self._fill, job.identity_change, instances)
        with self._store.outgoing.of(job.id, frozenset(made.values()), fill) as folder:
            outgoing = {uid: _outgoing(folder.path / name) for uid, name in made.items()}
            yield Prepared(instances=outgoing, keep=folder.keep)

    def _fill(self, change: IdentityChange, instances: Sequence[Instance], folder: Path) -> None:
        if change is IdentityChange.DEIDENTIFY_BASIC:
            self._deidentify(instances, folder)
        else:
            self._reidentify(instances, folder)

    def _as_kept(self, instance: Instance) -> Outgoing:
        return Outgoing(
            path=self._store.objects.path(instance.object_key),
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
        )

    def _deidentify(self, instances: Sequence[Instance], folder: Path) -> None:
        pseudonyms, today = self._store.pseudonyms.pseudonyms(), date.today()
        originals: list[Original] = []
        refused: list[DeidentificationRefused] = []
        for instance in instances:
            try:
                changed = deidentified(self._kept(instance), pseudonyms, today, self._words)
            except DeidentificationRefused as error:
                refused.append(error)
                continue
            originals.extend(changed.originals)
            _write(folder, instance, changed)
        if refused:
            raise _all_of(refused, len(instances))
        self._store.pseudonyms.remember(originals)

    def _reidentify(self, instances: Sequence[Instance], folder: Path) -> None:
        known = self._store.pseudonyms
        pseudonyms = known.pseudonyms()
        for instance in instances:
            changed = reidentified(self._kept(instance), pseudonyms, known.find)
            _write(folder, instance, changed)

    def _kept(self, instance: Instance) -> KeptInstance:
        with self._store.objects.open_data_set(instance.object_key) as file:
            return KeptInstance(
                data_set=file.read(),
                transfer_syntax_uid=instance.transfer_syntax_uid,
                sop_class_uid=instance.sop_class_uid,
                sop_instance_uid=instance.sop_instance_uid,
            )


def _file_name(kept: Instance) -> str:
    """Return the name of an instance's new form: after what it is kept as."""
    return f"{kept.object_key}.dcm"


def _write(folder: Path, kept: Instance, changed: ChangedInstance) -> None:
    header = file_header(kept.sop_class_uid, changed.sop_instance_uid, kept.transfer_syntax_uid)
    with store_errors():
        (folder / _file_name(kept)).write_bytes(header + changed.data_set)


def _outgoing(path: Path) -> Outgoing:
    with path.open("rb") as file:
        meta = read_file_meta(file)
    return Outgoing(
        path=path,
        sop_instance_uid=meta.sop_instance_uid,
        sop_class_uid=meta.sop_class_uid,
        transfer_syntax_uid=meta.transfer_syntax_uid,
    )


def _all_of(refused: Sequence[DeidentificationRefused], number: int) -> DeidentificationRefused:
    """Return one error for all instances of a job that may not leave."""
    details = []
    for reason, detail in dict.fromkeys((one.reason, one.detail) for one in refused):
        uids = [uid for one in refused if one.reason == reason for uid in one.instances]
        details.append(f"{len(uids)} of {number} instances, {detail}{named(uids)}")
    every = [uid for one in refused for uid in one.instances]
    return DeidentificationRefused(refused[0].reason, "; ".join(details), every)
