"""Digests that are remembered, and never longer than the bundle's files stay as they are."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.inference import BundleDigests, bundle_digest, load_model
from tests.unit.inference.bundles import threshold_bundle


class Reading:
    """The digests of bundles, and how often a bundle was read for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds_later: int = 60) -> None:
        self.times = 0
        self.digests = BundleDigests(lambda: time.time_ns() + seconds_later * 1_000_000_000)
        monkeypatch.setattr("gateway.inference.bundle_digests.bundle_digest", self._read)

    def _read(self, folder: Path) -> str:
        self.times += 1
        return bundle_digest(folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return threshold_bundle(tmp_path).bundle.root


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    return Reading(monkeypatch)


def weights(root: Path) -> Path:
    return root / "models" / "model.pt"


def test_a_bundle_that_stays_as_it_is_is_read_once(root: Path, reading: Reading) -> None:
    found = {reading.digests.of(root) for _ in range(3)}
    assert (found, reading.times) == ({bundle_digest(root)}, 1)


def test_each_bundle_has_its_own_digest(tmp_path: Path, reading: Reading) -> None:
    roots = [threshold_bundle(tmp_path / name).bundle.root for name in ("a", "b")]
    weights(roots[1]).write_bytes(b"others")
    assert [reading.digests.of(root) for root in roots * 2] == [*map(bundle_digest, roots)] * 2


def rewrite(root: Path) -> None:
    content = bytearray(weights(root).read_bytes())
    content[-1] ^= 1
    weights(root).write_bytes(content)


def rewrite_and_set_the_time_back(root: Path) -> None:
    before = weights(root).stat()
    rewrite(root)
    os.utime(weights(root), ns=(before.st_atime_ns, before.st_mtime_ns))


def put_another_in_its_place(root: Path) -> None:
    other = weights(root).with_name("new")
    other.write_bytes(bytes(weights(root).stat().st_size))
    other.replace(weights(root))


def add_one(root: Path) -> None:
    (root / "scripts" / "more.py").write_text("x = 1\n")


def take_one_away(root: Path) -> None:
    weights(root).unlink()


@pytest.mark.parametrize(
    "change",
    [
        rewrite,
        rewrite_and_set_the_time_back,
        put_another_in_its_place,
        add_one,
        take_one_away,
    ],
)
def test_a_bundle_that_changed_is_read_again(
    root: Path, reading: Reading, change: Callable[[Path], None]
) -> None:
    before = reading.digests.of(root)
    change(root)
    assert reading.digests.of(root) == bundle_digest(root) != before
    assert reading.times == 2


def test_what_was_written_a_moment_ago_may_change_unseen_and_is_read_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(monkeypatch, seconds_later=0)
    rewrite(root)
    reading.digests.of(root)
    reading.digests.of(root)
    assert reading.times == 2


def test_a_model_is_verified_by_remembered_digests_as_by_new_ones(tmp_path: Path) -> None:
    model = threshold_bundle(tmp_path)
    digests = BundleDigests(lambda: time.time_ns() + 60_000_000_000)
    for _ in range(2):
        assert load_model(tmp_path, model.name, digests.of) == model
    rewrite(model.bundle.root)
    with pytest.raises(ConfigurationInvalid, match="digest"):
        load_model(tmp_path, model.name, digests.of)
