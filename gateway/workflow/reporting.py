"""Storage commitment reports that could not go out on the association of their request."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import structlog

from gateway.dimse.commitment import context_of, log_report
from gateway.dimse.notification import notify
from gateway.errors import GatewayError, PeerRefused
from gateway.settings import DimseNode, Node
from gateway.store import NodeStore
from gateway.store.commitments import Commitment, CommitmentIndex, Commitments
from gateway.store.completion import CompletionIndex
from gateway.store.verification import Verifier
from gateway.workflow.backoff import Backoff

_log = structlog.get_logger()
_THREADS = 4


class CommitmentReporter:
    """Brings reports to the nodes that have the AE titles of their requestors.

    One report at a time goes to each requestor, in a thread: one that is away holds up no other.
    A report is made anew at each attempt, from what is on disk then.
    """

    def __init__(self, store: NodeStore, nodes: Mapping[str, Node], patience: Backoff) -> None:
        self._index = CommitmentIndex(store.database)
        self._commitments = Commitments(
            Verifier(store.instances, store.objects), CompletionIndex(store.database)
        )
        self._nodes = [node for node in nodes.values() if isinstance(node, DimseNode)]
        self._patience = patience
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="commitment")

    def look(self) -> None:
        """Take up the reports that are due, in the background."""
        with self._lock:
            free = _THREADS - len(self._under_way)
            busy = tuple(self._under_way)
        if not free:
            return
        for commitment in self._index.take_due(besides=busy, limit=free):
            with self._lock:
                self._under_way.add(commitment.calling_ae)
            self._threads.submit(self._deliver, commitment)

    def close(self) -> None:
        """Wait for the reports under way; each ends within its timeouts."""
        self._threads.shutdown(cancel_futures=True)

    def _deliver(self, commitment: Commitment) -> None:
        try:
            node = self._node(commitment)
            result = self._commitments.result(commitment)
            notify(node, commitment.called_ae, result)
            self._index.reported(commitment)
        except GatewayError as error:
            self._postpone(commitment, str(error))
        except Exception as error:  # noqa: BLE001 - the report's outermost layer
            _log.exception("commitment_report_broke", **context_of(commitment))
            self._postpone(commitment, f"internal error ({type(error).__name__})")
        else:
            log_report(commitment, result)
        finally:
            with self._lock:
                self._under_way.discard(commitment.calling_ae)

    def _node(self, commitment: Commitment) -> DimseNode:
        """Return the node that asked; of several with its AE title, the one at its address."""
        named = [node for node in self._nodes if node.ae_title == commitment.calling_ae]
        if not named:
            raise PeerRefused(
                f"no node of the settings has the AE title {commitment.calling_ae}; add one with "
                "its host and port, so that the report can be brought to it"
            )
        return next((node for node in named if node.host == commitment.host), named[0])

    def _postpone(self, commitment: Commitment, reason: str) -> None:
        if self._patience.gives_up(commitment.attempts, time.time() - commitment.requested_at):
            self._index.given_up(commitment, reason)
            _log.error("commitment_report_given_up", **context_of(commitment), reason=reason)
            return
        pause_seconds = self._patience.pause_seconds(commitment.attempts)
        self._index.postponed(commitment, pause_seconds, reason)
        log = _log.warning if commitment.attempts <= 2 else _log.info
        log("commitment_report_waits", **context_of(commitment), reason=reason)
