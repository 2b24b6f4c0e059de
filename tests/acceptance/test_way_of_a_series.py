"""From a modality's C-STORE to the SEG in the PACS, all with real programs."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from gateway.testing.scanner import Plane
from tests.acceptance.conftest import MakePhantom, Phantom, Site
from tests.peers.corpus import Corpus, made_uid
from tests.peers.dcmtk import storescu
from tests.peers.dicom3tools import dciodvfy_errors
from tests.peers.segmentation import LabelMap, read_label_map, run_model, same_voxels

pytestmark = pytest.mark.peers


def test_a_real_ct_comes_back_as_the_models_own_voxels(
    site: Site, corpus: Corpus, tmp_path: Path
) -> None:
    paths = real_ct(corpus)
    study = made_uid("study", "siemens-ct")

    said = storescu(site.node.dicom_port, paths[0].parent, options=["-xv"])

    assert said.status == 0, said.text
    shown = site.node.wait_for(made_uid("series", "siemens-ct"))
    assert shown["state"] == "done", shown["jobs"]
    assert shown["instances"] == len(paths)
    delivered = fetch(site, study, tmp_path)
    expected = run_model("ct_tissue", paths[0].parent, tmp_path / "alone")
    alone = read_label_map(seg_among(expected["outputs"]))
    assert same_voxels(read_label_map(delivered), alone)
    assert [segment["voxels"] for segment in expected["segments"]] == [
        int((alone.labels == number).sum()) for number in alone.names
    ]


@pytest.mark.parametrize(("seed", "plane"), list(enumerate(Plane, start=1)))
def test_a_phantom_comes_back_at_its_place_in_the_patient(
    site: Site, make_phantom: MakePhantom, tmp_path: Path, seed: int, plane: Plane
) -> None:
    phantom = make_phantom(plane, seed)

    said = storescu(site.node.dicom_port, phantom.folder)

    assert said.status == 0, said.text
    shown = site.node.wait_for(phantom.series_instance_uid)
    assert shown["state"] == "done", shown["jobs"]
    seg = read_label_map(fetch(site, phantom.study_instance_uid, tmp_path))
    assert_bone_is_in_place(seg, phantom)
    expected = run_model("ct_tissue", phantom.folder, tmp_path / "alone")
    assert same_voxels(seg, read_label_map(seg_among(expected["outputs"])))


def test_the_pacs_routes_a_study_and_finds_the_seg_in_it(
    site: Site, make_phantom: MakePhantom, tmp_path: Path
) -> None:
    phantom = make_phantom(Plane.AXIAL, 11)
    study = {site.pacs.upload(path) for path in phantom.paths}.pop()

    sent = site.pacs.send_to("gateway", study)

    assert sent["FailedInstancesCount"] == 0, sent
    found = site.pacs.wait_for_segmentation(phantom.study_instance_uid)
    assert found["SeriesInstanceUID"] != phantom.series_instance_uid
    source = dcmread(phantom.paths[0], stop_before_pixels=True)
    seg = dcmread(fetch(site, phantom.study_instance_uid, tmp_path), stop_before_pixels=True)
    for keyword in (
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "StudyDate",
        "StudyID",
        "AccessionNumber",
        "FrameOfReferenceUID",
    ):
        assert seg[keyword].value == source[keyword].value, keyword
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == phantom.series_instance_uid
    assert "not for clinical use" in seg.SeriesDescription.lower()


def test_dciodvfy_finds_no_error_in_the_seg(
    site: Site, corpus: Corpus, make_phantom: MakePhantom, tmp_path: Path
) -> None:
    phantom = make_phantom(Plane.OBLIQUE, 12)
    for folder, source, study in (
        ("phantom", phantom.folder, phantom.study_instance_uid),
        ("real", real_ct(corpus)[0].parent, made_uid("study", "siemens-ct")),
    ):
        if not site.pacs.segmentations(study):
            assert storescu(site.node.dicom_port, source, options=["-xv"]).status == 0
            site.pacs.wait_for_segmentation(study)
        (tmp_path / folder).mkdir()
        assert dciodvfy_errors(fetch(site, study, tmp_path / folder)) == []


def test_a_late_instance_opens_a_new_revision(site: Site, make_phantom: MakePhantom) -> None:
    phantom = make_phantom(Plane.AXIAL, 13)
    *first, late = phantom.paths
    assert storescu(site.node.dicom_port, *first).status == 0
    before = site.node.wait_for(phantom.series_instance_uid)

    assert storescu(site.node.dicom_port, late).status == 0

    after = site.node.wait_for(phantom.series_instance_uid, revision=2)
    assert (before["revision"], after["revision"]) == (1, 2)
    assert (before["instances"], after["instances"]) == (len(first), len(phantom.paths))
    assert len(after["jobs"]) > len(before["jobs"])
    segmentations = site.pacs.segmentations(phantom.study_instance_uid)
    assert len({item["SOPInstanceUID"] for item in segmentations}) == 2


def test_the_same_series_again_is_not_run_again(site: Site, make_phantom: MakePhantom) -> None:
    phantom = make_phantom(Plane.AXIAL, 14)
    assert storescu(site.node.dicom_port, phantom.folder).status == 0
    before = site.node.wait_for(phantom.series_instance_uid)

    assert storescu(site.node.dicom_port, phantom.folder).status == 0

    after = site.node.wait_for(phantom.series_instance_uid)
    assert after["files"] == before["files"]
    assert [job["id"] for job in after["jobs"]] == [job["id"] for job in before["jobs"]]
    site.pacs.wait_for_segmentation(phantom.study_instance_uid)


def test_series_show_and_list_keep_their_keys(site: Site, make_phantom: MakePhantom) -> None:
    phantom = make_phantom(Plane.AXIAL, 15)
    assert storescu(site.node.dicom_port, phantom.folder, calling="CT1").status == 0
    shown = site.node.wait_for(phantom.series_instance_uid)

    (listed,) = (
        item
        for item in site.node.series()
        if item["series_instance_uid"] == phantom.series_instance_uid
    )

    overview = {
        "series_instance_uid": phantom.series_instance_uid,
        "study_instance_uid": phantom.study_instance_uid,
        "modality": "CT",
        "instances": len(phantom.paths),
        "state": "done",
        "revision": 1,
    }
    assert listed.items() >= overview.items()
    assert shown.items() >= overview.items()
    assert shown["completed_because"]
    assert {"rule", "matched", "reasons"} <= set(shown["decision"][0])
    job_keys = {"id", "action", "node", "model", "state", "attempts", "error", "results"}
    assert all(job_keys <= set(job) for job in shown["jobs"])
    (segmentation,) = site.pacs.segmentations(phantom.study_instance_uid)
    assert any(segmentation["SOPInstanceUID"] in job["results"] for job in shown["jobs"])


def test_the_log_names_no_patient(site: Site, make_phantom: MakePhantom, corpus: Corpus) -> None:
    phantom = make_phantom(Plane.AXIAL, 16)
    assert storescu(site.node.dicom_port, phantom.folder).status == 0
    tilted = corpus.folder("ct-ge-tilt-varspacing")
    assert storescu(site.node.dicom_port, tilted[0].parent).status == 0
    head = dcmread(tilted[0], stop_before_pixels=True)
    site.node.wait_for(phantom.series_instance_uid)
    site.node.wait_for(str(head.SeriesInstanceUID))

    log = site.node.log()

    assert phantom.series_instance_uid in log, "the log says nothing of the series"
    for instance in (head, dcmread(phantom.paths[0], stop_before_pixels=True)):
        for keyword in ("PatientName", "PatientID"):
            assert str(instance[keyword].value) not in log, f"the log holds the {keyword}"
    assert "Phantom" not in log


def real_ct(corpus: Corpus) -> list[Path]:
    """Return the Siemens torso CT, with the UIDs that its de-identification emptied."""
    return corpus.named(corpus.folder("ct-siemens-j2k-totalseg/example_ct_dicom"), "siemens-ct")


def fetch(site: Site, study_instance_uid: str, folder: Path) -> Path:
    """Fetch the only SEG of a study over the PACS's DICOMweb."""
    path = folder / "delivered.dcm"
    path.write_bytes(site.pacs.retrieve(site.pacs.wait_for_segmentation(study_instance_uid)))
    return path


def seg_among(outputs: list[str]) -> Path:
    """Return the SEG among the files that ``models run`` wrote."""
    (path,) = (Path(name) for name in outputs if name.endswith(".dcm"))
    return path


def assert_bone_is_in_place(seg: LabelMap, phantom: Phantom) -> None:
    """Compare the centroid with the exact one, along each axis of the voxel grid."""
    exact = phantom.anatomy.bone_centroid_lps_mm
    assert exact is not None
    found = seg.centroid_lps_mm(seg.number("bone"))
    off_voxels = np.linalg.solve(seg.affine_lps[:3, :3], found - np.asarray(exact))
    assert np.abs(off_voxels).max() <= 0.5, f"off by {off_voxels} voxels"
