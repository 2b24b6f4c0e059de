"""A job's outgoing files are there while it sends, and at no other time."""

from pathlib import Path

import pytest

from gateway.errors import StoreFull
from gateway.store.outgoing import OutgoingFolders


def test_a_folder_is_empty_and_goes_again(tmp_path: Path) -> None:
    folders = OutgoingFolders(tmp_path, lambda: None)
    left = tmp_path / "outgoing" / "job"
    left.mkdir(parents=True)
    (left / "of-a-killed-worker.dcm").write_bytes(b"x")
    with folders.of("job") as folder:
        assert not list(folder.iterdir())
        (folder / "1.dcm").write_bytes(b"x")
    assert not left.exists()


def test_a_folder_goes_when_sending_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with OutgoingFolders(tmp_path, lambda: None).of("job"):
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fail()
    assert not list((tmp_path / "outgoing").iterdir())


def test_without_free_space_nothing_is_written(tmp_path: Path) -> None:
    def full() -> None:
        raise StoreFull("full")

    with pytest.raises(StoreFull), OutgoingFolders(tmp_path, full).of("job"):
        pass
    assert not (tmp_path / "outgoing").exists()
