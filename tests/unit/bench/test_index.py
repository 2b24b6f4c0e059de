"""The gateway with a filled index is a gateway, and holds what it was filled with."""

from pathlib import Path

import pytest

from tests.bench.failure import BenchmarkFailed
from tests.bench.filling import Filling, fill
from tests.bench.index import EMPTY, FULL, answers, kinds, plan_of
from tests.bench.ingest import Make, measured
from tests.bench.questions import questions
from tests.bench.series import make_series

FILLING = Filling(instances=1200)


@pytest.fixture
def full(tmp_path: Path) -> Make:
    """A gateway with two studies in its index."""
    file = tmp_path / "filled.sqlite"
    list(fill(file, FILLING))
    return kinds(file, FILLING)[FULL]


def test_rounds_take_turns_between_the_empty_and_the_full_index() -> None:
    assert [name for _, _, name in plan_of(2).steps()] == [EMPTY, FULL, FULL, EMPTY]


@pytest.mark.peers
def test_a_full_index_takes_the_series_and_nothing_is_left_behind(
    full: Make, tmp_path: Path
) -> None:
    (tmp_path / "measured").mkdir()

    found = measured(full, 1, make_series(tmp_path / "series", 3), tmp_path / "measured")

    assert (found.receiver, found.instances) == (FULL, 3)
    assert not list((tmp_path / "measured").iterdir())


@pytest.mark.peers
def test_a_full_index_answers_and_a_missing_study_fails_the_benchmark(
    full: Make, tmp_path: Path
) -> None:
    held = questions(FILLING.studies(), 10)
    never_held = questions(Filling(instances=3000).studies()[2:], 10)

    answered = answers(full, [*held, *never_held], tmp_path)

    assert {next(answered).key for _ in held} == {"StudyInstanceUID", "PatientID"}
    with pytest.raises(BenchmarkFailed, match="full index: C-FIND by"):
        next(answered)
