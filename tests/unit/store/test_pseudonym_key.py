"""The key of pseudonyms: made once, for the node's user only."""

import os
from multiprocessing import get_context
from pathlib import Path

import pytest

from gateway.errors import KeyUnusable
from gateway.store.pseudonym_key import PseudonymKey, make_key, read_key


def test_a_key_is_made_for_the_owner_only_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deidentification.key"
    made = make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == made
    assert len(made.secret) == 32
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "deidentification.key"
    assert make_key(path) == make_key(path)


def _made(path: Path) -> bytes:
    return make_key(path).secret


def test_processes_that_start_together_have_the_same_key(tmp_path: Path) -> None:
    with get_context("spawn").Pool(3) as pool:
        keys = pool.map(_made, [tmp_path / "deidentification.key"] * 6)
    assert len(set(keys)) == 1


def test_there_may_be_none(tmp_path: Path) -> None:
    assert read_key(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("ab" * 32, 0o644, "others may read the key .*chmod 600"),
        ("ab" * 31, 0o600, "64 hexadecimal digits"),
        ("not a key", 0o600, "64 hexadecimal digits"),
        ("", 0o600, "64 hexadecimal digits"),
    ],
)
def test_the_table_of_unusable_keys(tmp_path: Path, content: str, mode: int, message: str) -> None:
    path = tmp_path / "deidentification.key"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(KeyUnusable, match=message):
        read_key(path)


def test_each_purpose_has_its_own_key_and_none_is_printed() -> None:
    key = PseudonymKey(secret=os.urandom(32))
    assert len({key.secret, key.hashing, key.sealing}) == 3
    assert key.secret.hex() not in f"{key!r} {key.id}"
    assert len(key.id) == 16
