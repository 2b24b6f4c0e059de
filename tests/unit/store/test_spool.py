"""The files of instances on their way in: their names are durable before the first byte comes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.spool import Ahead, Spool
from tests.peers.processes import wait_until

AHEAD = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "receiver-0"


@pytest.fixture
def spool(folder: Path) -> Spool:
    return Spool(folder, Ahead(names=AHEAD, sync_index=lambda: None))


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str]]]:
    """The folders that are fsynced, each with the names that it has then."""
    found: list[tuple[str, set[str]]] = []
    real = os.fsync

    def recording(descriptor: int) -> None:
        real(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        found.append((path, set(os.listdir(path))))

    monkeypatch.setattr(os, "fsync", recording)
    return found


def taken(spool: Spool) -> Path:
    path, descriptor = spool.take()
    os.write(descriptor, b"content")
    os.close(descriptor)
    return Path(path)


def test_a_name_is_durable_before_anybody_gets_it(
    spool: Spool, folder: Path, synced: list[tuple[str, set[str]]]
) -> None:
    name = taken(spool).name
    assert (at := synced[0])[0] == str(folder)
    assert name in at[1]


def test_many_names_cost_one_fsync(spool: Spool, synced: list[tuple[str, set[str]]]) -> None:
    assert taken(spool) != taken(spool)
    assert len(synced[0][1]) == AHEAD


def test_more_names_are_made_before_there_are_none(spool: Spool, folder: Path) -> None:
    for _ in range(AHEAD // 2):
        taken(spool)
    wait_until(lambda: len(os.listdir(folder)) > AHEAD, "more names", 10, 0.01)
    assert {taken(spool).stat().st_size for _ in range(3 * AHEAD)} == {7}


def test_a_name_that_was_let_go_stays_until_its_objects_folder_is_durable(
    spool: Spool, tmp_path: Path, synced: list[tuple[str, set[str]]]
) -> None:
    path = taken(spool)
    spool.let_go(str(path), str(tmp_path))
    assert path.exists()

    spool.settle()

    assert not path.exists()
    assert synced[-1][0] == str(tmp_path)


def test_many_that_were_let_go_settle_by_themselves(spool: Spool, tmp_path: Path) -> None:
    paths = [taken(spool) for _ in range(100)]
    for path in paths:
        spool.let_go(str(path), str(tmp_path))
    wait_until(lambda: sum(path.exists() for path in paths) < 64, "they go", 10, 0.01)


def test_where_the_disk_fails_they_stay_for_the_next_time(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = taken(spool)
    spool.let_go(str(path), str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            spool.settle()
    assert path.exists()

    spool.settle()

    assert not path.exists()


def test_a_name_stays_until_the_index_is_durable(folder: Path, tmp_path: Path) -> None:
    index_is_durable = False

    def sync() -> None:
        assert path.exists()
        if not index_is_durable:
            raise StoreUnavailable("the index did not become durable: Input/output error")

    spool = Spool(folder, Ahead(names=AHEAD, sync_index=sync))
    path = taken(spool)
    spool.let_go(str(path), str(tmp_path))
    with pytest.raises(StoreUnavailable, match="did not become durable"):
        spool.settle()
    assert path.exists()
    index_is_durable = True

    spool.settle()

    assert not path.exists()


def test_a_disk_that_makes_no_name_durable_is_told_and_left_as_it_was(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            spool.take()
    assert os.listdir(folder) == []
    assert taken(spool).exists()


def test_names_that_somebody_deleted_are_told_and_made_again(spool: Spool, folder: Path) -> None:
    taken(spool)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(StoreUnavailable, match="deleted from outside"):
        spool.take()
    assert taken(spool).exists()


def test_it_leaves_nothing_behind(spool: Spool, folder: Path, tmp_path: Path) -> None:
    spool.let_go(str(taken(spool)), str(tmp_path))
    spool.close()
    assert os.listdir(folder) == []


@pytest.mark.parametrize("use", [Spool.take, Spool.settle, Spool.close])
def test_with_nothing_ahead_no_name_is_made_in_vain(
    folder: Path, use: Callable[[Spool], object]
) -> None:
    spool = Spool(folder)
    result = use(spool)
    if isinstance(result, tuple):
        os.close(result[1])
    assert len(os.listdir(folder)) == (1 if use is Spool.take else 0)


def failing(_: int) -> None:
    raise OSError(5, "Input/output error")
