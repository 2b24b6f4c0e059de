"""Stores on both databases that a node can have."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.settings import DatabaseSettings, NodeSettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.database import Database
from tests.unit.store.postgres import PostgreSQL


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server that ends with the session."""
    with PostgreSQL() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peers)])
def node_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a node on SQLite files, then of one on PostgreSQL; the database is empty."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").empty_database()
    return Settings(
        node=NodeSettings(data_dir=tmp_path / "data", reserve_gb=0),
        database=DatabaseSettings(url=url),
    )


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
