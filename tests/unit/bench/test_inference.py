"""``inference`` measures work that was done and compared, or fails."""

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless
from rich.console import Console

from gateway.inference import Model, read_series_volume
from tests.bench.bundle_run import BundleRun
from tests.bench.decoding import Decoded, gain
from tests.bench.failure import BenchmarkFailed
from tests.bench.inference import InferencePlan, Part
from tests.bench.inference_report import InferenceReport
from tests.bench.result_objects import CLASSES, Way, organs
from tests.bench.scans import compressed, files_in, scanned
from tests.bench.segmenting import WarmGateway
from tests.unit.inference.zoo import FORMS, zoo_bundle

Paths = Sequence[Path]


def small_bundle(folder: Path) -> Model:
    return zoo_bundle(folder, "small", FORMS["usual"], path="memory")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Twenty slices."""
    return scanned(tmp_path_factory.mktemp("scan"), 20, 64)


@pytest.fixture(scope="module")
def report(paths: Paths, tmp_path_factory: pytest.TempPathFactory) -> InferenceReport:
    """All parts, each as small as it can be."""
    plan = InferencePlan(
        parts=frozenset(Part),
        rounds=1,
        jobs=2,
        device="cpu",
        deploy=small_bundle,
        written_slices=len(paths),
    )
    return plan.carried_out(paths, tmp_path_factory.mktemp("bench"), partial(scanned, size=64))


def test_a_compressed_series_has_the_values_of_its_original(paths: Paths, tmp_path: Path) -> None:
    small = compressed(paths, tmp_path / "small")

    assert {dcmread(path).file_meta.TransferSyntaxUID for path in small} == {JPEG2000Lossless}
    for path, original in zip(small, paths, strict=True):
        assert np.array_equal(dcmread(path).pixel_array, dcmread(original).pixel_array)


def test_a_folder_without_dicom_is_refused(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")

    assert set(files_in(paths[0].parent)) == set(paths)
    with pytest.raises(BenchmarkFailed, match="no DICOM"):
        files_in(tmp_path)


def test_what_is_gained_is_the_median_of_the_rounds() -> None:
    first = Decoded(processes=2, one_seconds=10.0, all_seconds=5.0, apart_seconds=10.0)
    rounds = [first, replace(first, all_seconds=8.0), replace(first, apart_seconds=20.0)]

    assert gain(rounds) == (2.0, 2.0)


def test_each_part_is_measured(report: InferenceReport) -> None:
    [job], [one] = report.jobs, report.decoded

    assert min(one.one_seconds, one.all_seconds, one.apart_seconds) > 0
    assert 0 < job.outside_seconds < job.seconds
    assert sum(job.timings_ms.values()) / 1000 == pytest.approx(job.seconds, rel=0.2)
    assert job.bundle_run_seconds > 0
    assert report.stream is not None
    assert 0 < report.stream.busy <= 1
    assert {way: len(rounds) for way, rounds in report.written.items()} == dict.fromkeys(Way, 1)
    assert all(rounds[0].frames > len(rounds) for rounds in report.written.values())


def test_a_person_and_a_program_can_read_it(report: InferenceReport) -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(report.shown())
    shown = console.file.getvalue()  # type: ignore[attr-defined]

    for words in ("2 processes", "postprocess", "the same voxels", "busy", "plain highdicom"):
        assert words in shown
    assert report.json()["jobs"][0]["timings_ms"]["infer"] > 0


def test_other_labels_than_monais_fail_the_benchmark(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BundleRun, "seconds", lambda _: 1.0)
    monkeypatch.setattr(BundleRun, "label_map", lambda _: np.ones((20, 64, 64), dtype=np.uint8))

    with (
        WarmGateway(small_bundle(tmp_path), "cpu") as gateway,
        pytest.raises(BenchmarkFailed, match="not those of monai"),
    ):
        list(gateway.jobs(paths, tmp_path, rounds=1))


def test_a_bundle_that_monai_does_not_run_fails_the_benchmark(paths: Paths, tmp_path: Path) -> None:
    model = small_bundle(tmp_path)
    (model.bundle.root / "configs" / "inference.json").write_text("{}")

    with pytest.raises(BenchmarkFailed, match=r"monai\.bundle run"):
        BundleRun(model, read_series_volume(paths), tmp_path, None).seconds()


def test_every_class_is_in_the_label_map() -> None:
    label_map = organs((30, 64, 64))

    assert np.array_equal(np.unique(label_map), np.arange(CLASSES + 1))
