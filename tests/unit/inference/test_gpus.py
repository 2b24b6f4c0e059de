"""The GPUs that the driver lists, and those that this process may use."""

import pytest

from gateway.inference.gpus import Gpu, installed_gpus, read_list, visible_gpus

LISTED = "0, GPU-aaaa, 143771\n1, GPU-bbbb, 24564\n"
FIRST = Gpu(index=0, uuid="GPU-aaaa", total_mb=143_771)
SECOND = Gpu(index=1, uuid="GPU-bbbb", total_mb=24_564)


def test_a_drivers_list_is_read() -> None:
    assert read_list(LISTED) == (FIRST, SECOND)


@pytest.mark.parametrize("text", ["", "No devices were found\n", "0, GPU-aaaa, [N/A]\n"])
def test_what_is_no_gpu_is_left_out(text: str) -> None:
    assert read_list(text) == ()


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, (FIRST, SECOND)),
        ("", ()),
        ("1", (SECOND,)),
        ("1,0", (SECOND, FIRST)),
        ("GPU-bbbb", (SECOND,)),
        ("0,7,1", (FIRST,)),
        ("-1", ()),
    ],
)
def test_only_visible_gpus_are_used(visible: str | None, expected: tuple[Gpu, ...]) -> None:
    assert visible_gpus((FIRST, SECOND), visible) == expected


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert installed_gpus() == ()
