"""A store of a node, and what every process sets that speaks DIMSE."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.settings import NodeSettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.database import Database
from tests.unit.dimse.switches import node_switches


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    with node_switches():
        yield


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NodeStore]:
    """An empty store on SQLite."""
    settings = Settings(node=NodeSettings(data_dir=tmp_path, reserve_gb=0))
    database = Database(settings.index_url)
    database.upgrade()
    database.close()
    opened = open_store(settings)
    yield opened
    opened.close()
