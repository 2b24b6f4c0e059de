"""The index database: migrated once, durable, and never a driver's error."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, insert, inspect, text
from sqlalchemy.exc import OperationalError

from gateway.errors import StoreUnavailable
from gateway.settings import Settings
from gateway.store import JobState, NodeStore
from gateway.store import database as database_module
from gateway.store.database import REVISION, Database
from gateway.store.jobs import JobIndex
from gateway.store.schema import jobs, metadata
from gateway.store.writer import WriteAheadLog

MIGRATIONS = Path(database_module.__file__).parent / "migrations"
OLD_JOB = {
    "id": "a",
    "series_instance_uid": "2.25.2",
    "revision": 1,
    "rule": "r",
    "action": "forward",
    "send_to": [],
    "state": "queued",
    "attempts": 0,
    "generation": 0,
    "error": "",
    "results": [],
    "segments": [],
    "timings_ms": {},
    "created_at": 1.5,
    "queued_at": 1.5,
    "updated_at": 1.5,
}


def test_an_upgrade_makes_exactly_the_tables_of_the_schema(node_settings: Settings) -> None:
    node_settings.node.data_dir.mkdir()
    database = Database(node_settings.index_url)
    database.upgrade()
    database.close()

    engine = create_engine(node_settings.index_url)
    found = inspect(engine)
    assert set(found.get_table_names()) == {*metadata.tables, "alembic_version"}
    for table in metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: column.nullable for column in table.columns}
        assert {index["name"] for index in found.get_indexes(table.name)} >= {
            index.name for index in table.indexes
        }
    with engine.connect() as connection:
        found_revision = connection.execute(
            text("SELECT version_num FROM alembic_version")
        ).scalar()
    assert found_revision == REVISION
    engine.dispose()


def test_an_index_of_before_keeps_its_jobs(node_settings: Settings) -> None:
    node_settings.node.data_dir.mkdir()
    database = Database(node_settings.index_url)
    with database.writing() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(insert(jobs).values(**OLD_JOB))

    database.upgrade()

    found = JobIndex(database).get("a")
    assert (found.rule, found.state, found.inputs) == ("r", JobState.QUEUED, {})
    assert found.waits_until is None
    database.close()


def test_a_second_upgrade_changes_nothing(store: NodeStore) -> None:
    store.counters.add("kept")
    store.database.upgrade()
    store.database.upgrade()
    assert store.counters.all() == {"kept": 1}


def test_threads_that_count_lose_nothing(store: NodeStore) -> None:
    def work() -> None:
        for _ in range(20):
            store.counters.add("counted")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.counters.all() == {"counted": 120}


def test_a_transaction_that_fails_leaves_nothing(store: NodeStore) -> None:
    def half() -> None:
        with store.database.writing() as connection:
            connection.execute(text("INSERT INTO counters VALUES ('half', 1)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert store.counters.all() == {}


def test_readers_see_one_state_of_the_index_while_others_write(store: NodeStore) -> None:
    store.counters.add("a")
    with store.database.reading() as connection:
        count = text("SELECT value FROM counters WHERE name = 'a'")
        before = connection.execute(count).scalar()
        store.counters.add("a")
        assert connection.execute(count).scalar() == before
    assert store.counters.all() == {"a": 2}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'index.sqlite'}")
    database.upgrade()
    yield database
    database.close()


def add(database: Database, name: str) -> None:
    with database.writing() as connection:
        connection.execute(text("INSERT INTO counters VALUES (:name, 1)"), {"name": name})


def test_transactions_are_whole_and_their_references_right(index: Database) -> None:
    with index.writing() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 1
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_commit_that_returned_outlives_a_power_cut(
    index: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "index.sqlite-wal"
    synced: list[tuple[str, bool]] = []
    real = os.fdatasync

    def recording(descriptor: int) -> None:
        real(descriptor)
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), b"durable" in log.read_bytes()))

    monkeypatch.setattr(os, "fdatasync", recording)

    add(index, "durable")

    assert synced == [(str(log), True)]


def test_one_that_need_not_outlive_a_power_cut_waits_for_no_disk_until_all_must(
    index: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []

    def recording(_: int) -> None:
        synced.append(b"entered" in (tmp_path / "index.sqlite-wal").read_bytes())

    monkeypatch.setattr(os, "fdatasync", recording)
    with index.writing(is_durable=False) as connection:
        connection.execute(text("INSERT INTO counters VALUES ('entered', 1)"))
    assert synced == []
    with index.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM counters")).scalar() == 1

    index.sync()

    assert synced == [True]


def test_a_commit_that_the_disk_did_not_take_is_none_until_all_is_written_anew(
    index: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system reports a failed fsync once; the next one says nothing of what was lost."""

    def failing(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing)
        with pytest.raises(StoreUnavailable, match="did not become durable: Input/output error"):
            add(index, "doubtful")
    assert b"doubtful" not in (tmp_path / "index.sqlite").read_bytes()

    add(index, "kept")

    assert b"doubtful" in (tmp_path / "index.sqlite").read_bytes()


def test_writers_whose_fsyncs_meet_a_failed_one_fail_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").touch()
    log = WriteAheadLog(str(tmp_path / "log"))
    results = iter([OSError(5, "Input/output error"), None, None])

    def fails_once(_: int) -> None:
        result = next(results)
        if result is not None:
            raise result

    monkeypatch.setattr(os, "fdatasync", fails_once)
    before = [log.await_sync(), log.await_sync()]
    for failures in before:
        with pytest.raises(StoreUnavailable, match="did not become durable"):
            log.sync(failures)
    assert log.is_doubtful

    log.sync(log.await_sync())
    log.close()


def test_a_log_that_somebody_deleted_is_told(index: Database, tmp_path: Path) -> None:
    (tmp_path / "index.sqlite-wal").unlink()
    with pytest.raises(StoreUnavailable, match="its write-ahead log was deleted"):
        add(index, "lost")


def test_an_unreachable_database_is_worth_another_attempt(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'index.sqlite'}")
    with pytest.raises(StoreUnavailable, match="did not take a transaction") as unavailable:
        database.upgrade()
    assert unavailable.value.retry_helps
    assert isinstance(unavailable.value.__cause__, OperationalError)
    database.close()


def test_a_database_that_is_no_database_is_an_error_of_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"this is not a database" * 100)
    database = Database(f"sqlite:///{tmp_path / 'index.sqlite'}")
    with pytest.raises(StoreUnavailable):
        database.upgrade()
    database.close()


def test_a_writer_waits_for_another_programs_transaction(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    held = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    held.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, lambda: held.execute("COMMIT"))
    release.start()

    with database.writing() as connection:
        connection.execute(text("INSERT INTO counters VALUES ('waited', 1)"))

    release.join()
    held.close()
    database.close()


def test_a_writer_that_was_stopped_holds_the_others_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.database._BUSY_TIMEOUT_SECONDS", 0.2)
    database = Database(f"sqlite:///{tmp_path / 'index.sqlite'}")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    with pytest.raises(StoreUnavailable, match="another process holds the index"):
        database.upgrade()

    os.close(descriptor)
    database.upgrade()
    database.close()
