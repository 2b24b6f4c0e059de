"""Who gets the memory of a GPU, by what is predicted, declared and already there."""

import pytest

from gateway.inference.budget import (
    Admission,
    Need,
    Resident,
    Verdict,
    admission,
    loaded_need,
    predicted_need,
    usable_mb,
)
from gateway.inference.descriptor import GpuMemory

GPU_MB = 24_000
CT = (300, 512, 512)
RUN = Admission(verdict=Verdict.RUN)
WAIT = Admission(verdict=Verdict.WAIT)


def resident(model: str, loaded_mb: int, used_at: float = 0.0, series_mb: int = 0) -> Resident:
    return Resident(
        model=model,
        loaded_mb=loaded_mb,
        used_at=used_at,
        series_mb=series_mb,
        is_busy=series_mb > 0,
    )


def need(total_mb: int, *, is_declared: bool = False) -> Need:
    return Need(loaded_mb=1_000, series_mb=total_mb - 1_000, is_declared=is_declared)


def predicted(shape: tuple[int, ...], classes: int, **more: float) -> int:
    return predicted_need(shape, classes, 200 << 20, GpuMemory.SMALL, **more).total_mb  # type: ignore[arg-type]


def test_what_is_predicted_grows_with_the_volume_and_the_classes() -> None:
    assert predicted(CT, 2) < predicted(CT, 14) < predicted((600, 512, 512), 14)
    # 14 float channels of 300 slices are 4.4 GB, and the sliding window has them several times.
    assert predicted(CT, 14) > 3 * 4_200


def test_each_further_input_is_counted_as_much_as_the_first() -> None:
    one, two, four = (predicted(CT, 2, inputs=number) for number in (1, 2, 4))
    volume_mb = 300 * 512 * 512 * 4 / (1 << 20)
    assert two - one == pytest.approx(3 * volume_mb)
    assert four - one == pytest.approx(3 * (two - one))


def test_weights_are_part_of_what_a_loaded_model_takes() -> None:
    assert loaded_need(1 << 30).loaded_mb - loaded_need(0).loaded_mb == 1024


def test_what_a_series_took_before_corrects_the_prediction_upwards_only() -> None:
    assert predicted(CT, 2, highest_seen=2.0) > 1.5 * predicted(CT, 2)
    assert predicted(CT, 2, highest_seen=0.1) == predicted(CT, 2)


def test_what_the_descriptor_declares_replaces_the_prediction() -> None:
    declared = predicted_need(CT, 104, 1 << 30, GpuMemory.LARGE, limit_mb=9_000)
    assert (declared.total_mb, declared.is_declared) == (9_000, True)


def test_a_part_of_the_gpu_is_left_to_others() -> None:
    assert usable_mb(24_000) == 22_800


def test_a_series_runs_on_an_empty_gpu() -> None:
    assert admission(GPU_MB, [], "spleen", need(8_000)) == RUN


def test_two_series_run_side_by_side_where_both_fit_only() -> None:
    busy = [resident("liver", 1_000, series_mb=9_000)]
    assert admission(GPU_MB, busy, "spleen", need(14_000)) == RUN
    assert admission(GPU_MB, busy, "spleen", need(14_001)) == WAIT


def test_a_model_computes_one_series_at_a_time() -> None:
    busy = [resident("spleen", 1_000, series_mb=100)]
    assert admission(GPU_MB, busy, "spleen", need(2_000)) == WAIT


def test_the_least_recently_used_models_are_unloaded_and_no_more_than_needed() -> None:
    idle = [resident("a", 6_000, 30.0), resident("b", 6_000, 10.0), resident("c", 6_000, 20.0)]
    decided = admission(GPU_MB, idle, "d", need(14_000))
    assert decided == Admission(verdict=Verdict.RUN, unload=("b", "c"))


def test_nothing_is_unloaded_for_a_series_that_has_to_wait_all_the_same() -> None:
    models = [resident("idle", 3_000), resident("busy", 1_000, series_mb=20_000)]
    assert admission(GPU_MB, models, "spleen", need(8_000)) == WAIT


def test_a_loaded_model_is_not_counted_twice() -> None:
    loaded = [resident("spleen", 1_000)]
    assert admission(GPU_MB, loaded, "spleen", need(GPU_MB)) == RUN


def test_a_prediction_beyond_the_gpu_computes_alone_and_is_never_refused() -> None:
    assert admission(GPU_MB, [], "spleen", need(90_000)) == RUN
    decided = admission(GPU_MB, [resident("idle", 600)], "spleen", need(90_000))
    assert decided == Admission(verdict=Verdict.RUN, unload=("idle",))
    assert admission(GPU_MB, [resident("b", 600, series_mb=9)], "spleen", need(90_000)) == WAIT


def test_a_declaration_beyond_the_gpu_is_never_admitted() -> None:
    decided = admission(GPU_MB, [], "spleen", need(GPU_MB + 1, is_declared=True))
    assert decided.verdict is Verdict.NEVER


@pytest.mark.parametrize("capacity_mb", [500, 1_000])
def test_weights_beyond_the_gpu_are_tried_alone(capacity_mb: int) -> None:
    assert admission(capacity_mb, [], "spleen", need(5_000)) == RUN
