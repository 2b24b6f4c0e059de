"""Decoding while a series still arrives, so that little is left to do when it is complete."""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import structlog
from pydicom.uid import UID

from gateway.errors import GatewayError
from gateway.inference import Decoders, SourceFrame, select_frames
from gateway.store import Instance, JobAction, NodeStore
from gateway.store.completion import CompletionIndex
from gateway.store.jobs import OPEN_STATES

_log = structlog.get_logger()
_LOOK_SECONDS = 0.25
_IMAGES_AT_ONCE = 8


@dataclass(kw_only=True, slots=True)
class _Arriving:
    """What is known of a series that arrives."""

    place: int = 0
    """That of its latest instance in the order of arrival."""
    number: int = 0
    asked_at_number: int = 0
    """How many instances were here when it was last asked whether it is wanted."""
    is_wanted: bool = False
    waiting: list[Path] = field(default_factory=list)
    decoded: list[Path] = field(default_factory=list)


class EarlyDecoding:
    """Decodes the compressed images of series that arrive and may be segmented.

    Nothing depends on it: what it did not decode, or could not, is decoded by the job, which
    reports what is wrong. ``may_segment`` tells of a Series Instance UID whether some rule would
    have what is here of it segmented.
    """

    def __init__(
        self, store: NodeStore, decoders: Decoders, may_segment: Callable[[str], bool]
    ) -> None:
        self._store = store
        self._decoders = decoders
        self._may_segment = may_segment
        self._completion = CompletionIndex(store.database)
        self._series: dict[str, _Arriving] = {}

    def run(self, ended: threading.Event) -> None:
        """Look for instances until the event is set."""
        while not ended.is_set():
            try:
                is_busy = self.look()
            except Exception as error:  # noqa: BLE001 - a thread's outermost layer
                _log.warning("early_decoding_failed", reason=type(error).__name__)
                is_busy = False
            if not is_busy:
                ended.wait(_LOOK_SECONDS)

    def look(self) -> bool:
        """Decode some of what came, let go of what nobody needs; tell whether there is more."""
        receiving = {one.series_instance_uid for one in self._completion.receiving()}
        self._let_go(receiving)
        return sum(self._decode_some(uid) for uid in sorted(receiving)) > 0

    def _let_go(self, receiving: Collection[str]) -> None:
        for uid in [uid for uid in self._series if uid not in receiving]:
            if not self._is_needed(uid):
                self._decoders.early.forget(self._series.pop(uid).decoded)

    def _is_needed(self, series_instance_uid: str) -> bool:
        """Tell whether a series that is complete may still be segmented, or is just now."""
        if not self._series[series_instance_uid].decoded:
            return False
        if any(uid == series_instance_uid for uid, _ in self._store.series.unrouted()):
            return True
        return any(
            job.action is JobAction.SEGMENT and job.state in OPEN_STATES
            for job in self._store.jobs.of_series(series_instance_uid)
        )

    def _decode_some(self, series_instance_uid: str) -> bool:
        one = self._series.setdefault(series_instance_uid, _Arriving())
        one.place, new = self._store.instances.arrived(series_instance_uid, one.place)
        one.number += len(new)
        one.waiting += self._compressed(new)
        if not one.waiting or not self._is_wanted(series_instance_uid, one):
            return False
        paths, one.waiting = one.waiting[:_IMAGES_AT_ONCE], one.waiting[_IMAGES_AT_ONCE:]
        one.decoded += paths
        self._decode(paths)
        return bool(one.waiting)

    def _is_wanted(self, series_instance_uid: str, one: _Arriving) -> bool:
        """Ask the rules, and again when there is twice as much: some want so many instances."""
        if not one.is_wanted and one.number >= 2 * one.asked_at_number:
            one.asked_at_number = one.number
            one.is_wanted = self._may_segment(series_instance_uid)
        return one.is_wanted

    def _compressed(self, instances: Collection[Instance]) -> list[Path]:
        """Return the files whose pixels cost something to decode."""
        return [
            self._store.objects.path(instance.object_key)
            for instance in instances
            if is_compressed(instance.transfer_syntax_uid)
        ]

    def _decode(self, paths: Collection[Path]) -> None:
        frames = sorted((frame for path in paths for frame in _image(path)), key=_size)
        for _, those in groupby(frames, key=_size):
            try:
                self._decoders.decode_early(list(those))
            except GatewayError as error:
                _log.info("not_decoded_early", reason=type(error).__name__)


def is_compressed(transfer_syntax_uid: str) -> bool:
    """Tell whether pixel data in a transfer syntax is; what a private one means nobody knows."""
    uid = UID(transfer_syntax_uid)
    return uid.is_transfer_syntax and uid.is_compressed


def _image(path: Path) -> tuple[SourceFrame, ...]:
    """Return the one image that a file is, or nothing for all that is no slice by itself."""
    try:
        frames = select_frames([path]).frames
    except GatewayError:
        return ()
    return frames if len(frames) == 1 and frames[0].image.plane.frame_number is None else ()


def _size(frame: SourceFrame) -> tuple[int, int]:
    return frame.image.plane.rows, frame.image.plane.columns
