"""Models that come and go on one GPU."""

import threading

import pytest

from gateway.errors import ModelFailed
from gateway.inference.budget import Need
from gateway.inference.device_line import DeviceLine
from gateway.inference.gpus import Gpu
from gateway.inference.host_requirements import Priority

GPU = Gpu(index=0, uuid="GPU-1", total_mb=10_000)


@pytest.fixture
def unloaded() -> list[str]:
    return []


@pytest.fixture
def line(unloaded: list[str]) -> DeviceLine:
    return DeviceLine(GPU, unloaded.append)


def need(total_mb: int, *, is_declared: bool = False) -> Need:
    return Need(loaded_mb=1_000, series_mb=total_mb - 1_000, is_declared=is_declared)


def test_a_process_sees_its_gpu_only(line: DeviceLine) -> None:
    assert line.environment == {"CUDA_VISIBLE_DEVICES": "GPU-1"}


def test_a_model_stays_loaded_after_its_series(line: DeviceLine, unloaded: list[str]) -> None:
    with line.computing("a", need(4_000), Priority.NORMAL):
        pass
    assert line.holds("a")
    assert unloaded == []


def test_a_model_is_unloaded_for_one_that_needs_its_room(
    line: DeviceLine, unloaded: list[str]
) -> None:
    for model in ("a", "b"):
        with line.computing(model, need(4_000), Priority.NORMAL):
            pass
    with line.computing("c", need(8_000), Priority.NORMAL):
        assert unloaded == ["a"]
    assert line.holds("b")
    assert not line.holds("a")


def test_what_does_not_fit_waits_until_the_other_is_done(line: DeviceLine) -> None:
    entered = threading.Event()

    def second() -> None:
        with line.computing("b", need(8_000), Priority.URGENT):
            entered.set()

    waiting = threading.Thread(target=second)
    with line.computing("a", need(8_000), Priority.BACKGROUND):
        waiting.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    waiting.join()


def test_what_its_descriptor_says_is_too_large_fails_at_once(line: DeviceLine) -> None:
    wanted = need(20_000, is_declared=True)
    with (
        pytest.raises(ModelFailed, match=r"needs 20000 MB .* has 10000 MB"),
        line.computing("a", wanted, Priority.NORMAL),
    ):
        pass
    assert not line.holds("a")


def test_what_a_series_took_is_remembered_for_its_model(line: DeviceLine) -> None:
    line.note_peak("a", Need(loaded_mb=500, series_mb=1_000), 1_500)
    line.note_peak("a", Need(loaded_mb=500, series_mb=1_000), 900)
    assert line.highest_seen("a") == 1.5
    assert line.highest_seen("b") == 1.0


def test_on_the_cpu_different_models_compute_side_by_side(unloaded: list[str]) -> None:
    line = DeviceLine(None, unloaded.append)
    with (
        line.computing("a", need(90_000), Priority.NORMAL),
        line.computing("b", need(90_000), Priority.NORMAL),
    ):
        assert line.environment == {}
    assert unloaded == []
