"""Stores on both databases that a node can have."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from gateway.settings import Settings
from gateway.store import NodeStore, open_store
from gateway.store.database import Database

OpenStore = Callable[[], NodeStore]


@pytest.fixture
def open_again(node_settings: Settings) -> Iterator[OpenStore]:
    """Open the same node's store, as another process does; closed with the test."""
    node_settings.node.data_dir.mkdir(exist_ok=True)
    database = Database(node_settings.index_url)
    database.upgrade()
    database.close()
    with ExitStack() as opened:

        def opener() -> NodeStore:
            store = open_store(node_settings)
            opened.callback(store.close)
            return store

        yield opener


@pytest.fixture
def store(open_again: OpenStore) -> NodeStore:
    """An empty store."""
    return open_again()
