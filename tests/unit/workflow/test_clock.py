"""The workflow engine writes times that SQLite gives it, whatever SQLite that is."""

import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from gateway.workflow.clock import engine_arguments


@pytest.mark.parametrize("version", [(3, 40, 1), sqlite3.sqlite_version_info], ids=["old", "own"])
def test_the_time_has_fractions_of_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    url = f"sqlite:///{tmp_path / 'workflow.sqlite'}"
    engine = create_engine(url, **engine_arguments(url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (at INTEGER DEFAULT (unixepoch('subsec') * 1000))"))
        connection.execute(text("INSERT INTO t DEFAULT VALUES"))
        milliseconds = connection.execute(text("SELECT at FROM t")).scalar_one()
    engine.dispose()
    assert abs(milliseconds - time.time() * 1000) < 10_000


def test_other_databases_need_nothing() -> None:
    assert engine_arguments("postgresql+psycopg://node@db/gateway") == {}
