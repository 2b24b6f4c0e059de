"""A series of files becomes a SEG with its volumes and timings."""

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.errors import GeometryRefused, InputRefused
from gateway.inference import BundleHosts, Model, segment_series
from tests.unit.inference.bundles import IDENTITY, phantom_series


def test_a_series_becomes_a_seg_with_volumes_and_timings(
    tmp_path: Path, hosts: BundleHosts, thresholds: Model
) -> None:
    result = segment_series(phantom_series(tmp_path), thresholds, hosts, IDENTITY)
    assert [measure.label for measure in result.segments] == ["Soft tissue", "Left kidney"]
    voxel_ml = 2.5 * 3.0 * 5.5 / 1000
    assert all(m.ml == pytest.approx(m.voxels * voxel_ml) for m in result.segments)
    assert all(measure.voxels > 0 for measure in result.segments)
    stages = ["read", "decode", "preprocess", "infer", "postprocess", "seg"]
    assert list(result.timings_ms) == stages
    assert all(ms > 0 for ms in result.timings_ms.values())
    assert dcmread(BytesIO(result.file)).SOPInstanceUID == result.dataset.SOPInstanceUID


def test_a_series_of_another_modality_is_refused(
    tmp_path: Path, hosts: BundleHosts, thresholds: Model
) -> None:
    paths = phantom_series(tmp_path)
    for path in paths:
        dataset = dcmread(path)
        dataset.Modality = "MR"
        dataset.save_as(path)
    with pytest.raises(InputRefused, match="the series is MR, and model thresholds takes CT"):
        segment_series(paths, thresholds, hosts, IDENTITY)


def test_a_series_with_too_few_slices_for_the_model_is_refused(
    tmp_path: Path, hosts: BundleHosts, thresholds: Model
) -> None:
    demanding = thresholds.descriptor.model_copy(update={"minimum_slices": 40})
    model = Model(name="thresholds", descriptor=demanding, bundle=thresholds.bundle)
    with pytest.raises(InputRefused, match="has 19 slices, and model thresholds needs at least 40"):
        segment_series(phantom_series(tmp_path), model, hosts, IDENTITY)


def test_a_series_with_a_missing_slice_is_refused(
    tmp_path: Path, hosts: BundleHosts, thresholds: Model
) -> None:
    paths = sorted(phantom_series(tmp_path), key=lambda path: dcmread(path).ImagePositionPatient[2])
    with pytest.raises(GeometryRefused, match="missing-slice"):
        segment_series([*paths[:4], *paths[5:]], thresholds, hosts, IDENTITY)
