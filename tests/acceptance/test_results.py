"""Every kind of result through a real PACS and back: each voxel at its place in the patient."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from highdicom.seg import segread
from highdicom.spatial import PixelToReferenceTransformer
from highdicom.sr import srread
from pydicom import Dataset, dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from gateway.dimse.user import Outgoing, SendOutcome, send
from gateway.inference import Model, Output, input_digest, part10
from gateway.inference.forms import Form, forms_for
from gateway.inference.result import ResultObject, SegmentedVolume
from gateway.settings import DimseNode, ResultSettings
from gateway.testing.scanner import Plane
from tests.acceptance.conftest import SEGMENT_ALL, MakePhantom
from tests.peers.dcmtk import storescu
from tests.peers.dicom3tools import dciodvfy_errors
from tests.peers.node import MODELS, Node, Plan
from tests.peers.orthanc import Orthanc
from tests.unit.inference.bundles import IDENTITY, threshold_bundle
from tests.unit.inference.results import (
    SOURCES,
    image_of,
    labelled,
    made_of,
    plane_of,
    segmented,
    slice_indices,
    volume_of,
)
from tests.unit.inference.test_structures import (
    centroid_lps_mm,
    filled,
    mask_centroid_lps_mm,
)

pytestmark = pytest.mark.peers

LABEL_MAP_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")
SEGMENTED = (Output.SEG, Output.LABELMAP, Output.FRACTIONAL)
SETTINGS = {
    "usual": ResultSettings(),
    "all-frames": ResultSettings(omit_empty_frames=False),
    "few-frames": ResultSettings(max_frames=20),
    "deflated": ResultSettings(transfer_syntax="deflated-explicit-vr-little-endian"),
    "implicit": ResultSettings(transfer_syntax="implicit-vr-little-endian"),
    "compressed": ResultSettings(transfer_syntax="rle-lossless"),
}

CASES = [
    *((source, "usual") for source in SOURCES),
    *((Plane.OBLIQUE.value, name) for name in SETTINGS if name != "usual"),
]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Returned:
    """What was made of one volume, and by form the files that the PACS gave back."""

    result: SegmentedVolume
    made: list[ResultObject]
    files: dict[Form, list[bytes]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return threshold_bundle(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def returned(
    request: pytest.FixtureRequest,
    archive: Orthanc,
    model: Model,
    tmp_path_factory: pytest.TempPathFactory,
) -> Returned:
    """Make every output, send it by C-STORE, and fetch it by WADO-RS."""
    source, settings = request.param
    volume = volume_of(source, tmp_path_factory.mktemp("series"))
    found = labelled(volume)
    found[:3] = 0
    identity = replace(IDENTITY, input_digest=input_digest([source, settings]))
    label_map = volume.on_sources(found)
    result = segmented(volume, label_map, model, identity, with_probabilities=True)
    forms = forms_for(list(Output), SETTINGS[settings])
    made = made_of(result, *forms, model_label_map=found)
    store(archive, [one.dataset for one in made], tmp_path_factory.mktemp("sent"))
    files: dict[Form, list[bytes]] = {form: [] for form in forms}
    for one in made:
        files[one.form].append(archive.retrieve(names_of(one.dataset)))
    return Returned(result=result, made=made, files=files)


def store(archive: Orthanc, datasets: list[Dataset], folder: Path) -> None:
    """Send by C-STORE; label maps, whose class this Orthanc does not know there, by its REST."""
    outgoing = []
    for number, dataset in enumerate(datasets):
        path = folder / f"{number}.dcm"
        path.write_bytes(part10(dataset))
        if dataset.SOPClassUID == LABEL_MAP_STORAGE:
            archive.upload(path)
            continue
        outgoing.append(
            Outgoing(
                path=path,
                sop_instance_uid=str(dataset.SOPInstanceUID),
                sop_class_uid=str(dataset.SOPClassUID),
                transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
            )
        )
    node = DimseNode(
        kind="dimse", ae_title=archive.ae_title, host="127.0.0.1", port=archive.dicom_port
    )
    answers = send(node, "GATEWAY", outgoing)
    assert {answer.outcome for answer in answers} == {SendOutcome.STORED}, answers


def names_of(dataset: Dataset) -> dict[str, str]:
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    return {keyword: str(dataset[keyword].value) for keyword in keywords}


def form_of(returned: Returned, output: Output) -> Form:
    [form] = [form for form in returned.files if form.output is output]
    return form


@pytest.mark.parametrize("output", SEGMENTED)
def test_two_readers_find_every_voxel_at_its_place(returned: Returned, output: Output) -> None:
    result = returned.result
    segments = result.model.descriptor.segments_by_label
    form = form_of(returned, output)
    numbers = [one.segment_numbers for one in returned.made if one.form == form]
    for file, numbered in zip(returned.files[form], numbers, strict=True):
        for index, segment in enumerate(segments):
            number = numbered.get(segment.label_id)
            if number is None:
                continue
            expected: npt.NDArray[Any] = result.label_map == segment.label_id
            if output is Output.FRACTIONAL:
                assert result.probabilities is not None
                expected = result.probabilities[index]
            assert_in_place(by_highdicom(file, number), expected, result)
            assert_in_place(by_pydicom(file, number), expected, result)
    found = sorted(label for numbered in numbers for label in numbered)
    assert found == [segment.label_id for segment in segments]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Read:
    """The voxels of a segment that are not 0: values, and places in LPS mm."""

    values: npt.NDArray[Any]
    places_lps_mm: npt.NDArray[np.float64]


def by_highdicom(file: bytes, number: int) -> Read:
    """Read a segment as one volume, or frame by frame where the stack leans."""
    seg = segread(BytesIO(file))
    if seg.get_volume_geometry() is not None:
        volume = seg.get_volume(segment_numbers=[number], rescale_fractional=False)
        return read_of(volume.array[..., 0], volume.affine)
    frames = range(1, seg.NumberOfFrames + 1)
    stored = np.stack([seg.get_stored_frame(frame) for frame in frames])
    places = (PixelToReferenceTransformer.for_image(seg, frame_number=n) for n in frames)
    # Theirs are of (column, row).
    return joined(seg, number, stored, (one.affine[:, [2, 1, 0, 3]] for one in places))


def by_pydicom(file: bytes, number: int) -> Read:
    seg = dcmread(BytesIO(file))
    [shared] = seg.SharedFunctionalGroupsSequence
    stored = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    groups = seg.PerFrameFunctionalGroupsSequence
    return joined(seg, number, stored, (affine_of(group, shared) for group in groups))


def joined(
    seg: Dataset,
    number: int,
    stored: npt.NDArray[Any],
    affines_lps: Iterable[npt.NDArray[np.float64]],
) -> Read:
    """Put the frames of a segment together, each with what takes (0, row, column, 1) to LPS mm."""
    reads = []
    for named, frame, affine_lps in zip(segments_of(seg), stored, affines_lps, strict=True):
        if named in (None, number):
            plane = frame == number if named is None else frame
            reads.append(read_of(plane[None], affine_lps))
    return Read(
        values=np.concatenate([read.values for read in reads]),
        places_lps_mm=np.concatenate([read.places_lps_mm for read in reads]),
    )


def segments_of(seg: Dataset) -> Iterator[int | None]:
    """Yield the segment number of each frame, None where it shows all segments."""
    [shared] = seg.SharedFunctionalGroupsSequence
    for group in seg.PerFrameFunctionalGroupsSequence:
        named = [
            item
            for groups in (group, shared)
            for item in groups.get("SegmentIdentificationSequence", [])
        ]
        yield int(named[0].ReferencedSegmentNumber) if named else None


def affine_of(group: Dataset, shared: Dataset) -> npt.NDArray[np.float64]:
    """Return what takes (0, row, column, 1) of a frame to LPS mm (PS3.3 C.7.6.2.1.1)."""
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, dtype=float)
    affine = np.eye(4)
    affine[:3, 1] = cosines[3:] * spacing[0]
    affine[:3, 2] = cosines[:3] * spacing[1]
    affine[:3, 3] = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
    return affine


def read_of(array: npt.NDArray[Any], affine_lps: npt.NDArray[np.float64]) -> Read:
    inside = np.argwhere(array)
    places = inside @ affine_lps[:3, :3].T + affine_lps[:3, 3]
    return Read(values=array[tuple(inside.T)], places_lps_mm=places)


def assert_in_place(read: Read, expected: npt.NDArray[Any], result: SegmentedVolume) -> None:
    affine_lps = result.volume.source_geometry.affine_lps
    inverse = np.linalg.inv(affine_lps)
    indices = read.places_lps_mm @ inverse[:3, :3].T + inverse[:3, 3]
    assert np.allclose(indices, indices.round(), atol=1e-3)
    found = np.zeros(expected.shape, dtype=np.uint8)
    found[tuple(indices.round().astype(int).T)] = read.values
    assert np.array_equal(found, expected.astype(np.uint8))
    centroid_lps_mm = read_of(expected, affine_lps).places_lps_mm.mean(axis=0)
    assert np.allclose(read.places_lps_mm.mean(axis=0), centroid_lps_mm, atol=1e-3)


def test_the_report_refers_to_segments_that_the_pacs_has(
    returned: Returned, archive: Orthanc, tmp_path: Path
) -> None:
    form = form_of(returned, Output.SR)
    [file] = returned.files[form]
    path = tmp_path / "sr.dcm"
    path.write_bytes(file)
    assert len(srread(path).content.get_volumetric_roi_measurement_groups()) == 2
    references = list(referenced_segments(dcmread(path)))
    assert len(references) == 2
    for uid, number in references:
        [instance] = archive.instances(SOPInstanceUID=uid)
        assert instance["MainDicomTags"]["SOPInstanceUID"] == uid
        [seg] = [one for one in returned.made if one.dataset.SOPInstanceUID == uid]
        assert number in seg.segment_numbers.values()


def referenced_segments(item: Dataset) -> Iterator[tuple[str, int]]:
    for child in item.get("ContentSequence", []):
        for reference in child.get("ReferencedSOPSequence", []):
            if "ReferencedSegmentNumber" in reference:
                yield str(reference.ReferencedSOPInstanceUID), reference.ReferencedSegmentNumber
        yield from referenced_segments(child)


def test_contours_filled_again_are_the_label_map(returned: Returned) -> None:
    [file] = returned.files[form_of(returned, Output.RTSTRUCT)]
    volume, structures = returned.result.volume, dcmread(BytesIO(file))
    found = filled(structures, volume)
    for number in (1, 2):
        mask = returned.result.label_map == number
        assert np.array_equal(found[number - 1], mask)
        expected = mask_centroid_lps_mm(volume, mask)
        assert centroid_lps_mm(structures, number) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("output", SEGMENTED)
def test_each_frame_lies_on_the_image_that_it_names(returned: Returned, output: Output) -> None:
    """In the same plane, and in the frame of reference of the source, with the slice's voxels."""
    result = returned.result
    index_of = slice_indices(result.volume)
    for file in returned.files[form_of(returned, output)]:
        seg = dcmread(BytesIO(file))
        assert seg.FrameOfReferenceUID == result.volume.sources[0].FrameOfReferenceUID
        for group in seg.PerFrameFunctionalGroupsSequence:
            [derivation] = group.DerivationImageSequence
            [reference] = derivation.SourceImageSequence
            index = index_of[image_of(reference)]
            source = plane_of(result.volume, index)
            [place] = group.PlanePositionSequence
            assert place.ImagePositionPatient == source.ImagePositionPatient
            assert reference.ReferencedSOPClassUID == result.volume.sources[index].SOPClassUID
        assert_names_sources(seg.ReferencedSeriesSequence, "ReferencedInstanceSequence", result)


def assert_names_sources(series: Sequence[Dataset], keyword: str, result: SegmentedVolume) -> None:
    """Check that one series is referred to, and each of its instances once, as a whole."""
    [one] = series
    sources = {str(one.SOPInstanceUID): str(one.SOPClassUID) for one in result.volume.sources}
    assert one.SeriesInstanceUID == result.volume.sources[0].SeriesInstanceUID
    items = list(one[keyword].value)
    references = [(item.ReferencedSOPInstanceUID, item.ReferencedSOPClassUID) for item in items]
    assert sorted(references) == sorted(sources.items())
    assert not any("ReferencedFrameNumber" in item for item in items)


def test_structures_captures_and_reports_name_their_images(returned: Returned) -> None:
    result = returned.result
    index_of = slice_indices(result.volume)
    [file] = returned.files[form_of(returned, Output.RTSTRUCT)]
    structures = dcmread(BytesIO(file))
    [frame_of_reference] = structures.ReferencedFrameOfReferenceSequence
    uids = {one.ReferencedFrameOfReferenceUID for one in structures.StructureSetROISequence}
    uids |= {frame_of_reference.FrameOfReferenceUID, structures.FrameOfReferenceUID}
    assert uids == {result.volume.sources[0].FrameOfReferenceUID}
    [study] = frame_of_reference.RTReferencedStudySequence
    assert study.ReferencedSOPInstanceUID == result.volume.sources[0].StudyInstanceUID
    assert_names_sources(study.RTReferencedSeriesSequence, "ContourImageSequence", result)

    captures = [dcmread(BytesIO(one)) for one in returned.files[form_of(returned, Output.SC)]]
    shown = [index_of[image_of(one.SourceImageSequence[0])] for one in captures]
    assert shown == np.flatnonzero(result.label_map.any(axis=(1, 2))).tolist()

    [file] = returned.files[form_of(returned, Output.SR)]
    [evidence] = dcmread(BytesIO(file)).CurrentRequestedProcedureEvidenceSequence
    [series] = [
        one
        for one in evidence.ReferencedSeriesSequence
        if one.SeriesInstanceUID == result.volume.sources[0].SeriesInstanceUID
    ]
    assert_names_sources([series], "ReferencedSOPSequence", result)


def test_captures_come_back_as_they_were_drawn(returned: Returned) -> None:
    form = form_of(returned, Output.SC)
    sent = [one.dataset for one in returned.made if one.form == form]
    for file, dataset in zip(returned.files[form], sent, strict=True):
        expected = dcmread(BytesIO(part10(dataset))).pixel_array
        assert np.array_equal(dcmread(BytesIO(file)).pixel_array, expected)


@pytest.mark.parametrize("output", [output for output in Output if output is not Output.LABELMAP])
def test_dciodvfy_finds_no_error(returned: Returned, output: Output, tmp_path: Path) -> None:
    """Not of label maps, nor in the deflated syntax, which this dciodvfy does not know."""
    for number, file in enumerate(returned.files[form_of(returned, output)][:2]):
        dataset = dcmread(BytesIO(file))
        if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(part10(dataset))
        assert dciodvfy_errors(path) == []


def test_a_series_comes_back_in_every_form_that_its_model_has(
    make_phantom: MakePhantom, tmp_path: Path
) -> None:
    """Through the whole node: one job, and each of its objects in the PACS."""
    phantom = make_phantom(Plane.SAGITTAL, 71)
    models = models_with(tmp_path, "outputs: [seg, sr, sc, rtstruct]")
    with ExitStack() as running:
        pacs = running.enter_context(Orthanc(tmp_path / "orthanc"))
        plan = Plan(
            rules={"10-tissue.yaml": SEGMENT_ALL}, peers={"pacs": pacs.peer}, models_dir=models
        )
        node = running.enter_context(Node(tmp_path / "node", plan))
        assert storescu(node.dicom_port, phantom.folder).status == 0
        shown = node.wait_for(phantom.series_instance_uid)
        assert shown["state"] == "done", shown["jobs"]
        [job] = [job for job in shown["jobs"] if job["action"] == "segment"]
        kept = pacs.instances(StudyInstanceUID=phantom.study_instance_uid)
        arrived = {one["MainDicomTags"]["SOPInstanceUID"] for one in kept}
        assert arrived == set(job["results"])
        assert len(arrived) > 4, "several slices, and one object of each other kind"


def models_with(folder: Path, outputs: str) -> Path:
    """Deploy the shipped model with other outputs."""
    models = folder / "models"
    models.mkdir()
    (models / "ct_tissue").symlink_to(MODELS / "ct_tissue")
    text = (MODELS / "ct_tissue.yaml").read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if line.startswith("outputs:")]
    (models / "ct_tissue.yaml").write_text(text.replace(line, outputs), encoding="utf-8")
    return models


def test_each_node_gets_its_forms_and_a_new_revision_names_the_one_before(
    make_phantom: MakePhantom, tmp_path: Path
) -> None:
    """Of a model of label maps and reports, two nodes get what stands for them there."""
    phantom = make_phantom(Plane.AXIAL, 72)
    *first, late = phantom.paths
    with ExitStack() as running:
        full = running.enter_context(Orthanc(tmp_path / "full"))
        plain = running.enter_context(Orthanc(tmp_path / "plain"))
        plan = Plan(
            rules={"10-tissue.yaml": SEGMENT_ALL.replace("[pacs]", "[full, plain]")},
            peers={"full": full.peer, "plain": plain.peer},
            models_dir=models_with(tmp_path, "outputs: [labelmap, sr]"),
        )
        node = Node(tmp_path / "node", plan)
        with node.config.open("a", encoding="utf-8") as settings:
            settings.write(
                '\n[nodes.full.results]\noutputs = ["seg", "sr"]\nomit_empty_frames = false\n'
                '\n[nodes.plain.results]\noutputs = ["seg"]\n'
            )
        running.enter_context(node)
        assert storescu(node.dicom_port, *first).status == 0
        shown = node.wait_for(phantom.series_instance_uid)
        assert shown["state"] == "done", shown["jobs"]
        assert storescu(node.dicom_port, late).status == 0
        shown = node.wait_for(phantom.series_instance_uid, revision=2)
        assert shown["state"] == "done", shown["jobs"]
        has_full = objects_in(full, node, phantom.study_instance_uid)
        has_plain = objects_in(plain, node, phantom.study_instance_uid)

    assert [one.Modality for one in has_full] == ["SEG", "SEG", "SR", "SR"]
    assert [one.Modality for one in has_plain] == ["SEG", "SEG"]
    frames = [3 * len(first), 3 * len(phantom.paths)]
    assert [one.NumberOfFrames for one in has_full[:2]] == frames
    assert all(few.NumberOfFrames < most for few, most in zip(has_plain, frames, strict=True))
    before, after = has_full[2:]
    [study] = after.PredecessorDocumentsSequence
    [document] = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert document.ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in before
    for one, other in (has_full[:2], has_full[2:], has_plain):
        assert other.RelatedSeriesSequence[0].SeriesInstanceUID == one.SeriesInstanceUID
        assert other.SeriesDescription.endswith("(revision 2)")


def objects_in(pacs: Orthanc, node: Node, study_instance_uid: str) -> list[Dataset]:
    """Fetch the results that a PACS has of a study, of each modality the earlier revision first."""
    datasets = []
    for series in node.series():
        if series["study_instance_uid"] != study_instance_uid or series["modality"] == "CT":
            continue
        for file in node.show(series["series_instance_uid"])["files"]:
            if pacs.instances(SOPInstanceUID=file["sop_instance_uid"]):
                names = {
                    "StudyInstanceUID": study_instance_uid,
                    "SeriesInstanceUID": series["series_instance_uid"],
                    "SOPInstanceUID": file["sop_instance_uid"],
                }
                datasets.append(dcmread(BytesIO(pacs.retrieve(names))))
    return sorted(datasets, key=lambda one: (one.Modality, "revision" in one.SeriesDescription))
