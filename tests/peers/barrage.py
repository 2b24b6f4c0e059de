"""Senders that go on whatever happens to the node, and remember what it promised."""

import random
import threading
import time
from dataclasses import dataclass
from typing import Self

from tests.peers.instances import CT_CONTEXT, SeriesNames, ct, new_series, sha256
from tests.peers.raw import Part10
from tests.peers.wire import Wire

_SUCCESS = 0x0000
_OUT_OF_RESOURCES = 0xA700
_SMALLEST_BYTES, _LARGEST_BYTES = 4_000, 50_000
_RECONNECT_SECONDS = 0.1
_LONGEST_SILENCE_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """An instance that the node answered with Success."""

    series_instance_uid: str
    sop_instance_uid: str
    sha256: str


class Sender(threading.Thread):
    """A modality: series after series; whatever was not answered with Success goes again."""

    def __init__(self, name: str, *, seed: int, series_length: int, pause_seconds: float) -> None:
        super().__init__(name=name, daemon=True)
        self.port = 0
        self.promises: list[Promise] = []
        self.interruptions = 0
        self.failure: BaseException | None = None
        self._random = random.Random(seed)
        self._series_length = series_length
        self._pause_seconds = pause_seconds
        self._finishing = threading.Event()

    def finish(self) -> None:
        """Let the sender complete the series it is at, and end."""
        self._finishing.set()

    def run(self) -> None:
        """Send until told to finish; what goes wrong is kept for the test."""
        try:
            while not self._finishing.is_set():
                self._send_series(new_series())
        except (OSError, AssertionError) as error:
            self.failure = error

    def _send_series(self, names: SeriesNames) -> None:
        waiting = [
            ct(names, number, size_bytes=self._random.randint(_SMALLEST_BYTES, _LARGEST_BYTES))
            for number in range(1, self._series_length + 1)
        ]
        deadline = time.monotonic() + _LONGEST_SILENCE_SECONDS
        while waiting:
            before = len(waiting)
            try:
                self._send(names, waiting)
            except OSError:
                self.interruptions += 1
                if len(waiting) < before:
                    deadline = time.monotonic() + _LONGEST_SILENCE_SECONDS
                assert time.monotonic() < deadline, "the node does not come back"
                time.sleep(_RECONNECT_SECONDS)

    def _send(self, names: SeriesNames, waiting: list[Part10]) -> None:
        """Send over one association; every answered instance leaves the list at once."""
        with Wire(self.port) as wire:
            wire.associate([CT_CONTEXT], calling=self.name)
            while waiting:
                item = waiting[0]
                status = wire.store(item).status
                assert status in (_SUCCESS, _OUT_OF_RESOURCES), f"status {status:04X}H"
                if status == _SUCCESS:
                    self._remember(names, item)
                    waiting.pop(0)
                time.sleep(self._pause_seconds)
            wire.release()

    def _remember(self, names: SeriesNames, item: Part10) -> None:
        self.promises.append(
            Promise(
                series_instance_uid=names.series_instance_uid,
                sop_instance_uid=item.sop_instance_uid,
                sha256=sha256(item),
            )
        )


class Barrage:
    """Several senders at once."""

    def __init__(
        self, *, senders: int, seed: int, series_length: int, pause_seconds: float
    ) -> None:
        self._senders = [
            Sender(
                f"SENDER{number}",
                seed=seed + number,
                series_length=series_length,
                pause_seconds=pause_seconds,
            )
            for number in range(senders)
        ]

    def start(self, port: int) -> Self:
        """Begin to send to a port of this machine."""
        for sender in self._senders:
            sender.port = port
            sender.start()
        return self

    @property
    def promised(self) -> int:
        """How many instances were answered with Success so far."""
        return sum(len(sender.promises) for sender in self._senders)

    @property
    def interruptions(self) -> int:
        """How often a sender lost its association, or got none."""
        return sum(sender.interruptions for sender in self._senders)

    def finish(self, seconds: float) -> list[Promise]:
        """Let every sender complete its series; return all that was promised."""
        for sender in self._senders:
            sender.finish()
        deadline = time.monotonic() + seconds
        for sender in self._senders:
            sender.join(max(0.0, deadline - time.monotonic()))
        self.check()
        late = [sender.name for sender in self._senders if sender.is_alive()]
        assert not late, f"not done after {seconds:g} s: {late}"
        return [promise for sender in self._senders for promise in sender.promises]

    def check(self) -> None:
        """Raise what ended a sender before its time."""
        for sender in self._senders:
            if sender.failure is not None:
                raise AssertionError(f"{sender.name} gave up") from sender.failure
