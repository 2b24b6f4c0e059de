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
