"""When a series is complete, and that every complete series is routed."""

from collections.abc import Callable

from gateway.store import Job, NodeStore


class CompletionWatch:
    """Looks for series that became complete, and for jobs that a person queued again.

    It keeps no state of its own: what it finds after a crash is what it would have found
    before, and starting a workflow twice under one id starts it once.
    """

    def __init__(
        self,
        store: NodeStore,
        quiet_seconds: float,
        route: Callable[[str, int], None],
        retry: Callable[[Job], None],
    ) -> None:
        self._store = store
        self._quiet_seconds = quiet_seconds
        self._route = route
        self._retry = retry

    def look(self) -> None:
        """Complete what is quiet, route what is complete, start what was queued again."""
        self._store.series.complete_quiet_ones(self._quiet_seconds)
        for series_instance_uid, revision in self._store.series.unrouted():
            self._route(series_instance_uid, revision)
        for job in self._store.jobs.retried():
            self._retry(job)
