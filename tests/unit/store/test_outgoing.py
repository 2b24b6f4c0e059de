"""A job's outgoing files are there while it sends, and as long as its next attempt needs them."""

from pathlib import Path

import pytest

from gateway.errors import StoreFull
from gateway.store.outgoing import OutgoingFolders

NAMES = frozenset({"1.dcm", "2.dcm"})


def fill(folder: Path) -> None:
    for name in NAMES:
        (folder / name).write_bytes(b"x")


def never(_: Path) -> None:
    raise AssertionError("filled again")


@pytest.fixture
def folders(tmp_path: Path) -> OutgoingFolders:
    return OutgoingFolders(tmp_path, lambda: None)


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "outgoing").iterdir())


def test_a_folder_holds_its_files_and_goes_again(folders: OutgoingFolders, tmp_path: Path) -> None:
    with folders.of("job", NAMES, fill) as folder:
        assert {path.name for path in folder.path.iterdir()} == NAMES
    assert left(tmp_path) == []


def test_a_folder_that_is_kept_is_not_filled_again(
    folders: OutgoingFolders, tmp_path: Path
) -> None:
    with folders.of("job", NAMES, fill) as folder:
        folder.keep()
    assert left(tmp_path) == ["job"]
    with folders.of("job", NAMES, never):
        pass
    assert left(tmp_path) == []


def test_a_folder_that_lacks_a_file_is_filled_again(folders: OutgoingFolders) -> None:
    with folders.of("job", NAMES - {"2.dcm"}, lambda folder: fill(folder)) as folder:
        (folder.path / "2.dcm").unlink()
        folder.keep()
    with folders.of("job", NAMES, fill) as folder:
        assert {path.name for path in folder.path.iterdir()} == NAMES


def test_a_folder_goes_when_sending_fails(folders: OutgoingFolders, tmp_path: Path) -> None:
    def fail() -> None:
        with folders.of("job", NAMES, fill):
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fail()
    assert left(tmp_path) == []


def test_what_was_half_filled_is_never_given(folders: OutgoingFolders, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise StoreFull("full")

    with pytest.raises(StoreFull), folders.of("job", NAMES, fail):
        pass
    assert left(tmp_path) == []


def test_what_a_killed_worker_left_goes(folders: OutgoingFolders, tmp_path: Path) -> None:
    (tmp_path / "outgoing" / "job").mkdir(parents=True)
    folders.discard_all()
    assert not (tmp_path / "outgoing").exists()


def test_without_free_space_nothing_is_written(tmp_path: Path) -> None:
    def full() -> None:
        raise StoreFull("full")

    with pytest.raises(StoreFull), OutgoingFolders(tmp_path, full).of("job", NAMES, never):
        pass
    assert not (tmp_path / "outgoing").exists()
