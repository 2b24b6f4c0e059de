"""All that is pulled, in one thread: sources do not wait for each other, but for their turns."""

import asyncio
import threading
from collections import defaultdict

from gateway.settings import Settings
from gateway.store import NodeStore
from gateway.store.completion import CompletionIndex
from gateway.workflow.backoff import Backoff
from gateway.workflow.cloud_pull import expect
from gateway.workflow.cloud_source import CloudSource

_LOOK_SECONDS = 0.2


class Sources:
    """The sources of the settings that this version pulls from."""

    def __init__(
        self, store: NodeStore, settings: Settings, patience: Backoff, process: str
    ) -> None:
        """Pull in the process of a name."""
        self._store = store
        self._process = process
        self._settings = settings
        self._patience = patience
        self.names = settings.pulled_sources

    def recover(self) -> None:
        """Let series wait for what a killed process was fetching of them."""
        self._store.associations.lost(self._process)
        completion = CompletionIndex(self._store.database)
        for pull in self._store.pulls.unfinished():
            if pull.source in self.names:
                expect(completion, pull)

    def run(self, ended: threading.Event) -> None:
        """Pull until the event is set; an instance that is being kept then is kept."""
        if self.names:
            asyncio.run(self._all(ended))

    async def _all(self, ended: threading.Event) -> None:
        turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        tasks = [asyncio.create_task(self._source(name, turns).run()) for name in self.names]
        while not ended.is_set():
            await asyncio.sleep(_LOOK_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _source(self, name: str, turns: dict[str, asyncio.Lock]) -> CloudSource:
        node = self._settings.nodes[self._settings.sources[name].node]
        turn = turns[getattr(node, "datastore_id", name)]
        return CloudSource(self._store, name, self._settings, self._patience, turn, self._process)
