"""Asking the sources of series how many instances they have, without waiting for any of them."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from gateway import dicomweb
from gateway.dimse.counting import count_series
from gateway.errors import GatewayError
from gateway.settings import DicomwebNode, DimseNode, Node
from gateway.store.completion import CompletionIndex
from gateway.store.patience import Receiving

_log = structlog.get_logger()

_MOMENT_SECONDS = 1.0
"""Quiet after which a series is asked about while its association is open."""
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0
_MOST_PER_QUESTION = 32
_SILENCE_SECONDS = 30.0
"""How long a source that did not answer is left alone."""


class SourceCounts:
    """Counts series at the nodes that the settings name for their senders.

    One question at a time is under way for each node, in a thread of its own: a source that
    stalls holds up no other, and none holds up the look for complete series.
    """

    def __init__(
        self, completion: CompletionIndex, nodes: Mapping[str, Node], ae_title: str
    ) -> None:
        self._completion = completion
        self._ae_title = ae_title
        self._nodes = {
            name: node
            for name, node in nodes.items()
            if isinstance(node, DimseNode | DicomwebNode) and node.counts_for
        }
        self._names = {
            calling_ae: name for name, node in self._nodes.items() for calling_ae in node.counts_for
        }
        self._lock = threading.Lock()
        self._under_way: dict[str, frozenset[str]] = {}
        self._silent_until: dict[str, float] = {}
        self._threads = ThreadPoolExecutor(max(1, len(self._nodes)), thread_name_prefix="count")

    def ask(self, receiving: Sequence[Receiving]) -> frozenset[str]:
        """Ask about the series that are due, in the background.

        Returns the Series Instance UIDs about which an answer is under way.
        """
        if not self._nodes:
            return frozenset()
        now = time.time()
        due: dict[str, list[Receiving]] = {}
        for one in receiving:
            name = self._names.get(one.calling_ae)
            if name is not None and is_due(one, now):
                due.setdefault(name, []).append(one)
        with self._lock:
            for name, series in due.items():
                if name not in self._under_way and now >= self._silent_until.get(name, 0.0):
                    self._begin(name, series[:_MOST_PER_QUESTION])
            return frozenset(uid for uids in self._under_way.values() for uid in uids)

    def close(self) -> None:
        """Wait for the questions under way; each ends within its timeouts."""
        self._threads.shutdown(cancel_futures=True)

    def _begin(self, name: str, series: Sequence[Receiving]) -> None:
        self._under_way[name] = frozenset(one.series_instance_uid for one in series)
        self._threads.submit(self._question, name, series)

    def _question(self, name: str, series: Sequence[Receiving]) -> None:
        try:
            for series_instance_uid, number in self._answers(self._nodes[name], series):
                self._completion.counted(series_instance_uid, number, f"node {name}")
        except GatewayError as error:
            self._note_silence(name, str(error))
        except Exception as error:  # noqa: BLE001 - the question's outermost layer
            _log.exception("count_broke", node=name)
            self._note_silence(name, f"internal error ({type(error).__name__})")
        else:
            self._note_answer(name)
        finally:
            with self._lock:
                del self._under_way[name]

    def _answers(
        self, node: DimseNode | DicomwebNode, series: Sequence[Receiving]
    ) -> Iterator[tuple[str, int | None]]:
        names = tuple((one.study_instance_uid, one.series_instance_uid) for one in series)
        if isinstance(node, DimseNode):
            return count_series(node, self._ae_title, names)
        return dicomweb.count_series(node, names)

    def _note_silence(self, name: str, reason: str) -> None:
        """Log a source's silence once, however long it lasts."""
        is_news = name not in self._silent_until
        self._silent_until[name] = time.time() + _SILENCE_SECONDS
        if is_news:
            _log.warning(
                "source_does_not_count",
                node=name,
                reason=reason,
                meaning="series of its senders are complete after their quiet time",
            )

    def _note_answer(self, name: str) -> None:
        if self._silent_until.pop(name, None) is not None:
            _log.info("source_counts_again", node=name)


def is_due(one: Receiving, now: float) -> bool:
    """Tell whether to ask about a series: when it comes to rest, then in growing pauses."""
    if one.is_open and one.idle_seconds(now) < _MOMENT_SECONDS:
        return False
    if one.asked_at is None:
        return True
    if one.asked_at < one.last_activity_at:
        return (
            one.idle_seconds(now) >= _MOMENT_SECONDS and now - one.asked_at >= _FIRST_PAUSE_SECONDS
        )
    doubled = max(_FIRST_PAUSE_SECONDS, one.asked_at - one.last_activity_at)
    return now - one.asked_at >= min(doubled, _LONGEST_PAUSE_SECONDS)
