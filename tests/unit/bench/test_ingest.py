"""A benchmark measures work that was done, or fails."""

from pathlib import Path

import pytest

from tests.bench.failure import BenchmarkFailed
from tests.bench.ingest import Plan, measured
from tests.bench.receivers import Storescp
from tests.bench.series import SeriesFiles, make_series


class Forgetful(Storescp):
    """A receiver that answers Success and keeps nothing."""

    def command(self) -> list[str]:
        return [*super().command()[:-1], "--ignore", str(self.port)]


class Rude(Storescp):
    """A receiver that aborts in the middle of its first C-STORE, after answering C-ECHO."""

    def command(self) -> list[str]:
        return [*super().command()[:-1], "--abort-during", str(self.port)]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> SeriesFiles:
    """Five instances."""
    return make_series(tmp_path_factory.mktemp("series"), 5)


def test_every_round_measures_every_receiver_beginning_with_another() -> None:
    plan = Plan(receivers=("gateway", "orthanc"), associations=(1, 4), rounds=2)

    steps = list(plan.steps())

    assert len(steps) == len(plan) == len(set(steps))
    assert steps[:2] == [(0, 1, "gateway"), (0, 1, "orthanc")]
    assert steps[4:6] == [(1, 1, "orthanc"), (1, 1, "gateway")]


def test_the_senders_shares_are_the_series(series: SeriesFiles) -> None:
    shares = series.shares(2)

    assert [len(share) for share in shares] == [3, 2]
    assert {path for share in shares for path in share} == set(series.paths)


@pytest.mark.peers
@pytest.mark.parametrize("associations", [1, 2])
def test_a_receiver_is_measured_and_leaves_nothing(
    series: SeriesFiles, tmp_path: Path, associations: int
) -> None:
    found = measured(Storescp, associations, series, tmp_path)

    assert found.instances == 5
    assert found.size_bytes == series.size_bytes > 5 * 512 * 512 * 2
    assert found.seconds > 0
    assert found.peak_bytes > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.peers
@pytest.mark.parametrize(
    ("kind", "reason"), [(Forgetful, "holds 0"), (Rude, "storescu ended with status")]
)
def test_a_receiver_that_loses_an_instance_fails_the_benchmark(
    series: SeriesFiles, tmp_path: Path, kind: type[Storescp], reason: str
) -> None:
    with pytest.raises(BenchmarkFailed, match=reason):
        measured(kind, 1, series, tmp_path)

    assert not list(tmp_path.iterdir())
