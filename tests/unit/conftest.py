"""Settings of nodes on both databases that a node can have."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.settings import DatabaseSettings, NodeSettings, Settings
from tests.unit.store.postgres import PostgreSQL


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server that ends with the session."""
    with PostgreSQL() as server:
        yield server


DATABASES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.peers))


@pytest.fixture(params=DATABASES)
def node_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a node on SQLite files, then of one on PostgreSQL; the database is empty."""
    return empty_node(request, tmp_path / "data")


@pytest.fixture(scope="module", params=DATABASES)
def shared_node_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """As `node_settings`, for tests of a module that only read what their node holds."""
    return empty_node(request, tmp_path_factory.mktemp("node") / "data")


def empty_node(request: pytest.FixtureRequest, folder: Path) -> Settings:
    """Return settings of a node on the database that a fixture's parameter names."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").empty_database()
    return Settings(
        node=NodeSettings(data_dir=folder, reserve_gb=0),
        database=DatabaseSettings(url=url),
    )
