"""When a series is complete, and that every complete series is routed."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gateway.settings import Node
from gateway.store import Job, NodeStore
from gateway.store.completion import CompletionIndex
from gateway.store.patience import Patience
from gateway.workflow.counting import SourceCounts

_NO_NODES: Mapping[str, Node] = MappingProxyType({})


class CompletionWatch:
    """Looks for series that became complete, and for jobs that were queued again.

    What it knows is in the index: what it finds after a crash is what it would have found
    before, and starting a workflow twice under one id starts it once. Of ``nodes``, those whose
    settings say that they count series are asked, by the calling AE title ``ae_title``.
    """

    def __init__(
        self,
        store: NodeStore,
        quiet_seconds: float,
        route: Callable[[str, int], None],
        retry: Callable[[Job], None],
        *,
        longest_quiet_seconds: float = 60,
        ceiling_seconds: float = 3600,
        nodes: Mapping[str, Node] = _NO_NODES,
        ae_title: str = "GATEWAY",
    ) -> None:
        self._store = store
        self._route = route
        self._retry = retry
        self._completion = CompletionIndex(store.database)
        self._counts = SourceCounts(self._completion, nodes, ae_title)
        self._patience = Patience(
            quiet_seconds=quiet_seconds,
            longest_quiet_seconds=longest_quiet_seconds,
            ceiling_seconds=ceiling_seconds,
        )

    def look(self) -> None:
        """Complete what is to be, route what is complete, start what was queued again."""
        receiving = self._completion.receiving()
        if receiving:
            waits = self._counts.ask(receiving)
            self._completion.complete(receiving, self._patience, waits)
        for series_instance_uid, revision in self._store.series.unrouted():
            self._route(series_instance_uid, revision)
        self._store.jobs.awaken()
        for job in self._store.jobs.retried():
            self._retry(job)

    def close(self) -> None:
        """Wait for the questions to sources that are under way."""
        self._counts.close()
