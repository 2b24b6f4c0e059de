"""A model edited while the node runs: the last good one stays in force, and the log says why."""

import json
import shutil
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.inference import bundle_digest
from gateway.testing.scanner import Plane
from tests.acceptance.conftest import SEGMENT_ALL, MakePhantom
from tests.peers.dcmtk import storescu
from tests.peers.node import MODELS, Node, Peer, Plan
from tests.peers.orthanc import Orthanc
from tests.peers.processes import wait_until

pytestmark = pytest.mark.peers


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A copy of the shipped models, to be edited."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(MODELS, tmp_path / "models", ignore=ignored)
    return tmp_path / "models"


def edit(models: Path, old: str, new: str) -> None:
    text = (models / "ct_tissue.yaml").read_text()
    assert old in text
    (models / "ct_tissue.yaml").write_text(text.replace(old, new))


def wait_for_problem(node: Node, event: str, words: str) -> None:
    def is_told() -> bool:
        lines = (json.loads(line) for line in node.log().splitlines() if line.startswith("{"))
        problems = [one["problems"] for one in lines if one.get("event") == event]
        return any(words in problem for found in problems for problem in found)

    wait_until(is_told, f"{event} with {words!r} is logged", 60, 0.2, node.log)


def test_a_descriptor_that_is_broken_while_the_node_runs_leaves_the_last_good_one_in_force(
    make_phantom: MakePhantom, tmp_path: Path, models: Path
) -> None:
    with ExitStack() as running:
        pacs = running.enter_context(Orthanc(tmp_path / "orthanc"))
        plan = Plan(
            rules={"10-tissue.yaml": SEGMENT_ALL}, peers={"pacs": pacs.peer}, models_dir=models
        )
        node = running.enter_context(Node(tmp_path / "node", plan))

        edit(models, "labelID: 3", "labelID: 300000")
        wait_for_problem(node, "configuration_reload_failed", "models/ct_tissue.yaml:")
        phantom = make_phantom(Plane.AXIAL, 81)
        assert storescu(node.dicom_port, phantom.folder).status == 0
        shown = node.wait_for(phantom.series_instance_uid)
        assert shown["state"] == "done", shown["jobs"]

        edit(models, "labelID: 300000", "labelID: 3")
        edit(models, "series_description: Tissue (AI)", "series_description: Tissues (AI)")
        phantom = make_phantom(Plane.AXIAL, 82)
        assert storescu(node.dicom_port, phantom.folder).status == 0
        shown = node.wait_for(phantom.series_instance_uid)
        assert shown["state"] == "done", shown["jobs"]
        seg = pacs.wait_for_segmentation(phantom.study_instance_uid)
        written = dcmread(BytesIO(pacs.retrieve(seg)))
    assert written.SeriesDescription.startswith("Tissues (AI)")


def test_a_bundle_that_does_not_load_is_told_at_the_start(tmp_path: Path, models: Path) -> None:
    before = bundle_digest(models / "ct_tissue")
    (models / "ct_tissue" / "models" / "model.pt").write_bytes(b"no weights")
    edit(models, before, bundle_digest(models / "ct_tissue"))
    plan = Plan(
        rules={"10-tissue.yaml": SEGMENT_ALL},
        peers={"pacs": Peer(ae_title="PACS", port=9)},
        models_dir=models,
    )
    with Node(tmp_path / "node", plan) as node:
        wait_for_problem(node, "model_not_loaded", "models/ct_tissue.yaml:1:1: model ct_tissue")
