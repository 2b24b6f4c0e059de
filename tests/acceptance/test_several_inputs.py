"""A model that takes four MR series of a study: it waits for all, and says which one never came."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, Study, scan, write_series
from tests.acceptance.conftest import Site
from tests.peers.dcmtk import storescu
from tests.peers.node import Node, Plan
from tests.peers.orthanc import Orthanc
from tests.peers.processes import wait_until
from tests.unit.inference.zoo import FORMS, zoo_bundle

pytestmark = pytest.mark.peers

RULE = """\
rule: {name}-on-t1c
when: {{Modality: MR, SeriesDescription: t1c, StudyDescription: {name}}}
then:
  - segment: {{model: {name}, send_to: [pacs]}}
"""
NAMES = ("t1c", "t1", "t2", "flair")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start a node with a patient model for study 1, and one that waits 8 s for study 2."""
    folder = tmp_path_factory.mktemp("inputs")
    models = folder / "models"
    for name, seconds in (("patient", 900), ("impatient", 8)):
        zoo_bundle(models, name, FORMS["channels"], more={"inputs_within_seconds": seconds})
    rules = {f"{name}.yaml": RULE.format(name=name) for name in ("patient", "impatient")}
    with ExitStack() as running:
        pacs = running.enter_context(Orthanc(folder / "orthanc"))
        plan = Plan(
            rules=rules, peers={"pacs": pacs.peer}, models_dir=models, longest_quiet_seconds=1
        )
        yield Site(node=running.enter_context(Node(folder / "node", plan)), pacs=pacs)


def mr_study(folder: Path, description: str, number: int) -> dict[str, list[Dataset]]:
    """Scan four MR series of one study and write each to a folder of its name."""
    anatomy = Anatomy.asymmetric_object()
    series = {}
    for seed, name in enumerate(NAMES):
        study = Study(
            study_description=description,
            series_description=name,
            series_number=seed + 1,
            study_id=str(number),
        )
        acquisition = Acquisition(
            rows=40,
            columns=36,
            slices=20,
            row_spacing_mm=2.6,
            column_spacing_mm=3.0,
            slice_spacing_mm=5.0,
            centre_lps_mm=anatomy.centre_lps_mm,
            seed=seed,
        )
        images = scan(anatomy, acquisition, study=study)
        for image in images:
            image.Modality = "MR"
            image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = MRImageStorage
        write_series(images, folder / name)
        series[name] = images
    return series


def uids(study: dict[str, list[Dataset]]) -> dict[str, str]:
    return {name: str(images[0].SeriesInstanceUID) for name, images in study.items()}


def test_a_late_series_is_waited_for_and_one_seg_comes(site: Site, tmp_path: Path) -> None:
    study = mr_study(tmp_path, "patient", 1)
    first = uids(study)["t1c"]
    for name in ("t2", "t1c", "t1"):
        assert storescu(site.node.dicom_port, tmp_path / name).status == 0

    def waiting() -> bool:
        jobs = site.node.shown(first).get("jobs") or [{}]
        return str(jobs[0].get("error")) == "waits for flair of the study"

    wait_until(waiting, "the job waits for flair", 60, 0.2, site.node.log)
    [job] = site.node.shown(first)["jobs"]
    assert job["state"] == "waiting"
    assert job["waits_until"] is not None
    assert job["inputs"] == {name: uids(study)[name] for name in ("t1c", "t1", "t2")}
    site.node.kill_all()
    site.node.start()
    assert site.node.shown(first)["jobs"][0]["state"] == "waiting", "a restart forgets nothing"

    assert storescu(site.node.dicom_port, tmp_path / "flair").status == 0

    shown = site.node.wait_for(first)
    assert shown["state"] == "done", shown["jobs"]
    [segment] = [job for job in shown["jobs"] if job["action"] == "segment"]
    assert segment["inputs"] == uids(study)
    study_instance_uid = str(study["t1c"][0].StudyInstanceUID)
    site.pacs.wait_for_segmentation(study_instance_uid)
    [seg] = site.pacs.segmentations(study_instance_uid)
    assert segment["results"] == [seg["SOPInstanceUID"]]
    run = site.node.json("models", "run", "patient", str(tmp_path), str(tmp_path / "alone"))
    assert run["inputs"] == uids(study)
    voxels = {one["label"]: one["voxels"] for one in segment["segments"]}
    assert voxels == {one["label"]: one["voxels"] for one in run["segments"]}
    assert sum(voxels.values()) > 0


def test_a_study_that_lacks_an_input_is_refused_in_time(site: Site, tmp_path: Path) -> None:
    study = mr_study(tmp_path, "impatient", 2)
    first = uids(study)["t1c"]
    for name in ("t1c", "t1", "flair"):
        assert storescu(site.node.dicom_port, tmp_path / name).status == 0

    shown = site.node.wait_for(first, seconds=60)

    [job] = shown["jobs"]
    assert (job["state"], shown["state"]) == ("refused", "failed")
    assert job["error"] == (
        "no complete series of the study was t2 within 8 s; model impatient takes "
        "t1c, t1, t2, flair"
    )
    assert site.pacs.segmentations(str(study["t1c"][0].StudyInstanceUID)) == []
    assert storescu(site.node.dicom_port, tmp_path / "t2").status == 0
    site.node.wait_for(uids(study)["t2"])
    site.node.run("jobs", "retry", job["id"])
    assert site.node.wait_for(first)["state"] in ("complete", "done")
    site.pacs.wait_for_segmentation(str(study["t1c"][0].StudyInstanceUID))


def test_a_broken_condition_is_found_by_check(site: Site, tmp_path: Path) -> None:
    zoo_bundle(tmp_path / "models", "broken", FORMS["channels"])
    descriptor = tmp_path / "models" / "broken.yaml"
    content = json.loads(descriptor.read_text())
    content["inputs"][2]["when"] = {"SeriesDescripton": "t2"}
    descriptor.write_text(json.dumps(content, indent=1))
    node = Node(tmp_path / "node", Plan(rules={}, models_dir=tmp_path / "models"))
    said = node.run("check", "--no-load", status=1)
    lines = descriptor.read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "SeriesDescripton" in text)
    assert f"broken.yaml:{line}:5: `SeriesDescripton` is no DICOM keyword" in (
        said.stdout + said.stderr
    )
