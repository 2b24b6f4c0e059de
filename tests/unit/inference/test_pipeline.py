"""A series of files becomes a SEG with its volumes and timings."""

from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from gateway.errors import GeometryRefused, InputRefused
from gateway.inference import (
    BundleHosts,
    Model,
    Output,
    forms_for,
    read_series_volume,
    segment_series,
)
from gateway.inference.descriptor import NothingFound
from gateway.settings import ResultSettings
from gateway.testing.scanner import write_series
from tests.unit.inference.bundles import IDENTITY, phantom_series
from tests.unit.inference.results import labelled, made_of, reread, segmented
from tests.unit.inference.test_input_volumes import images
from tests.unit.inference.zoo import FORMS, PHASES, zoo_bundle


def test_a_series_becomes_a_seg_with_volumes_and_timings(
    tmp_path: Path, hosts: BundleHosts, thresholds: Model
) -> None:
    result = segment_series(phantom_series(tmp_path), thresholds, hosts, IDENTITY)
    assert [measure.label for measure in result.segments] == ["Soft tissue", "Left kidney"]
    voxel_ml = 2.5 * 3.0 * 5.5 / 1000
    assert all(m.ml == pytest.approx(m.voxels * voxel_ml) for m in result.segments)
    assert all(measure.voxels > 0 for measure in result.segments)
    bundle = ["wait", "preprocess", "infer", "postprocess", "transfer"]
    assert list(result.timings_ms) == ["read", "decode", *bundle, "measure", "seg"]
    assert all(ms > 0 for ms in result.timings_ms.values())
    [written] = result.objects
    assert dcmread(BytesIO(written.file)).SOPInstanceUID == written.dataset.SOPInstanceUID


def test_a_repeated_job_of_several_inputs_gives_equal_bytes(
    tmp_path: Path, hosts: BundleHosts
) -> None:
    """In another process, and with the files of each series in another order."""
    wanted = {"grid": "resample", "outputs": ["seg", "sr"]}
    model = zoo_bundle(tmp_path / "models", "keys", FORMS["keys"], more=wanted)
    columns = dict(zip(PHASES, (20, 20, 24), strict=True))
    first, *others = (
        write_series(images(columns[name], seed), tmp_path / name)
        for seed, name in enumerate(PHASES)
    )
    named = dict(zip(PHASES[1:], others, strict=True))
    result = segment_series(first, model, hosts, IDENTITY, others=named)
    turned = {name: paths[::-1] for name, paths in named.items()}
    with BundleHosts() as fresh:
        again = segment_series(first[::-1], model, fresh, IDENTITY, others=turned)
    assert [one.file for one in again.objects] == [one.file for one in result.objects]
    assert len(result.objects) == 2
    assert sum(measure.voxels for measure in result.segments) > 0
    assert list(result.timings_ms)[:3] == ["read", "decode", "resample"]


def test_every_node_gets_its_forms_and_equal_ones_are_written_once(
    tmp_path: Path, hosts: BundleHosts, thresholds: Model
) -> None:
    model = with_outputs(thresholds, "seg", "sr", "sc")
    every = ResultSettings()
    label_maps = ResultSettings(outputs=("labelmap", "sr"))
    result = segment_series(
        phantom_series(tmp_path), model, hosts, IDENTITY, [every, label_maps, every]
    )
    by_output = Counter(one.form.output.value for one in result.objects)
    assert by_output == {"seg": 1, "labelmap": 1, "sr": 2, "sc": 16}
    reports = [one for one in result.objects if one.form.output is Output.SR]
    about = [one.form.about.output.value for one in reports if one.form.about]
    assert about == ["seg", "labelmap"]
    assert len({one.dataset.SOPInstanceUID for one in result.objects}) == len(result.objects)


def test_each_nodes_frames_and_transfer_syntax_are_in_its_files(
    tmp_path: Path, hosts: BundleHosts, thresholds: Model
) -> None:
    """Of one run, for nodes that differ in one setting each."""
    model = with_outputs(thresholds, "seg", "labelmap")
    nodes = [
        ResultSettings(),
        ResultSettings(omit_empty_frames=False),
        ResultSettings(max_frames=20),
        ResultSettings(transfer_syntax="rle-lossless"),
    ]
    result = segment_series(phantom_series(tmp_path), model, hosts, IDENTITY, nodes)
    usual, full, parted, compressed = (
        [
            dcmread(BytesIO(one.file))
            for form in forms_for(model.descriptor.outputs, node)
            for one in result.objects
            if one.form == form
        ]
        for node in nodes
    )
    filled = [len({*frames_of(usual[0], n)}) for n in (1, 2)]
    assert [int(one.NumberOfFrames) for one in usual] == [sum(filled), max(filled)]
    assert [int(one.NumberOfFrames) for one in full] == [2 * 19, 19]
    assert [int(one.NumberOfFrames) for one in parted] == [*filled, max(filled)]
    syntaxes = [one.file_meta.TransferSyntaxUID for one in compressed]
    assert syntaxes == [ExplicitVRLittleEndian, RLELossless]
    assert np.array_equal(compressed[1].pixel_array, usual[1].pixel_array)


def frames_of(seg: Dataset, number: int) -> list[int]:
    """Return the frames of a segment that hold voxels."""
    groups = seg.PerFrameFunctionalGroupsSequence
    return [
        index
        for index, (frame, group) in enumerate(zip(seg.pixel_array, groups, strict=True))
        if frame.any() and group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
    ]


@pytest.mark.parametrize(
    ("choice", "outputs"),
    [("outputs", ["seg", "sr"]), ("report", ["sr"]), ("nothing", [])],
)
def test_what_a_series_without_findings_gives_is_the_descriptors_choice(
    tmp_path: Path, hosts: BundleHosts, thresholds: Model, choice: str, outputs: list[str]
) -> None:
    model = with_outputs(thresholds, "seg", "sr", nothing_found=NothingFound(choice))
    result = segment_series(empty_series(tmp_path), model, hosts, IDENTITY)
    assert [one.form.output.value for one in result.objects] == outputs
    assert [measure.voxels for measure in result.segments] == [0, 0]
    for one in result.objects:
        if one.form.output is Output.SR:
            assert absences(dcmread(BytesIO(one.file))) == ["Absent", "Absent"]


def absences(report: Dataset) -> list[str]:
    """Return what each group of measurements says of the presence of its finding."""
    [groups] = [one for one in report.ContentSequence if _name(one) == "Imaging Measurements"]
    return [
        one.ConceptCodeSequence[0].CodeMeaning
        for group in groups.ContentSequence
        for one in group.ContentSequence
        if _name(one) == "Presence of property"
    ]


def _name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def test_a_node_that_takes_no_report_gets_none_of_an_empty_result(
    tmp_path: Path, hosts: BundleHosts, thresholds: Model
) -> None:
    model = with_outputs(thresholds, "seg", "sr", nothing_found=NothingFound.REPORT)
    only_segs = ResultSettings(outputs=("seg",))
    result = segment_series(empty_series(tmp_path), model, hosts, IDENTITY, [only_segs])
    assert result.objects == ()


@pytest.mark.parametrize("is_stripped", [False, True])
def test_patient_and_study_are_the_sources_own_in_every_kind_of_object(
    tmp_path: Path, thresholds: Model, is_stripped: bool
) -> None:
    volume = read_series_volume(phantom_series(tmp_path))
    words = ("PatientName", "PatientID", "StudyID", "AccessionNumber", "PatientSex")
    for source in volume.sources:
        source.SpecificCharacterSet = ["ISO 2022 IR 6", "ISO 2022 IR 87"]
        source.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
        for keyword in words if is_stripped else ():
            source.pop(keyword, None)
    result = segmented(volume, labelled(volume), thresholds, with_probabilities=True)
    for made in made_of(result, *forms_for(list(Output), ResultSettings())):
        read = reread(made.dataset)
        source = volume.sources[0]
        for keyword in (*words, "StudyDate"):
            assert read.get(keyword) == source.get(keyword) or not read.get(keyword), keyword
            assert is_stripped or read[keyword] == source[keyword], keyword
        assert read.StudyInstanceUID == source.StudyInstanceUID
        assert read.SeriesNumber == result.series_number(made.form.output)


def with_outputs(model: Model, *outputs: str, **changes: object) -> Model:
    """Deploy a model with other outputs."""
    update = {"outputs": tuple(map(Output, outputs)), **changes}
    return replace(model, descriptor=model.descriptor.model_copy(update=update))


def empty_series(folder: Path) -> list[Path]:
    """Scan nothing but air."""
    paths = list(phantom_series(folder))
    for path in paths:
        dataset = dcmread(path)
        air = np.full((dataset.Rows, dataset.Columns), -1000 - dataset.RescaleIntercept)
        dataset.PixelData = air.astype(dataset.pixel_array.dtype).tobytes()
        dataset.save_as(path)
    return paths


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
