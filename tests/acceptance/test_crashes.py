"""Whatever is killed, whenever: the SEG arrives, and arrives once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.testing.scanner import Plane
from tests.acceptance.conftest import SEGMENT_ALL, MakePhantom, Phantom
from tests.conftest import StartNode
from tests.peers.dcmtk import storescu
from tests.peers.node import MODELS, Node, Plan
from tests.peers.orthanc import Orthanc
from tests.peers.processes import wait_until

pytestmark = pytest.mark.peers


@pytest.fixture
def node(start_node: StartNode, pacs: Orthanc) -> Node:
    """A node that segments everything and sends the results to the PACS."""
    plan = Plan(
        rules={"10.yaml": SEGMENT_ALL},
        peers={"pacs": pacs.peer},
        models_dir=MODELS,
        quiet_seconds=0.5,
    )
    return start_node(plan)


def test_a_killed_worker_is_restarted_and_the_seg_arrives_once(
    node: Node, pacs: Orthanc, make_phantom: MakePhantom
) -> None:
    phantom = make_phantom(Plane.AXIAL, 21)
    host = in_the_middle_of_a_model(node, phantom)

    killed = node.kill_worker()
    node.thaw(host)

    assert_delivered_once(node, pacs, phantom)
    assert node.worker() != killed
    assert host not in node.hosts(), "the killed worker's model process outlived it"


def test_a_killed_model_is_restarted_and_the_seg_arrives_once(
    node: Node, pacs: Orthanc, make_phantom: MakePhantom
) -> None:
    phantom = make_phantom(Plane.SAGITTAL, 22)
    host = in_the_middle_of_a_model(node, phantom)
    worker = node.worker()

    assert node.kill_host() == host

    assert_delivered_once(node, pacs, phantom)
    assert host not in node.hosts()
    assert node.worker() == worker, "the worker need not restart for that"


def test_a_worker_killed_while_the_pacs_is_away_delivers_once(
    node: Node, pacs: Orthanc, make_phantom: MakePhantom
) -> None:
    phantom = make_phantom(Plane.CORONAL, 24)
    pacs.stop()
    assert storescu(node.dicom_port, phantom.folder).status == 0
    during(node, phantom, delivering)

    node.kill_worker()
    pacs.start()

    assert_delivered_once(node, pacs, phantom)


def test_a_node_that_lost_power_goes_on_where_it_was(
    node: Node, pacs: Orthanc, make_phantom: MakePhantom
) -> None:
    phantom = make_phantom(Plane.AXIAL, 25)
    in_the_middle_of_a_model(node, phantom)

    node.kill_all()
    node.start()

    assert_delivered_once(node, pacs, phantom)


def test_a_node_that_is_stopped_leaves_nothing_and_goes_on_at_the_next_start(
    node: Node, pacs: Orthanc, make_phantom: MakePhantom
) -> None:
    phantom = make_phantom(Plane.AXIAL, 26)
    assert storescu(node.dicom_port, phantom.folder).status == 0
    node.wait_for(phantom.series_instance_uid, states=("receiving", "complete", "done"), revision=0)

    node.stop()
    node.start()

    assert_delivered_once(node, pacs, phantom)


def segmenting(job: dict[str, Any]) -> bool:
    """Tell whether a model works on the job."""
    return bool(job["action"] == "segment" and job["state"] == "running")


def delivering(job: dict[str, Any]) -> bool:
    """Tell whether the result waits for its node."""
    return bool(job["action"] == "deliver" and job["state"] in ("running", "waiting"))


def during(node: Node, phantom: Phantom, is_it: Callable[[dict[str, Any]], bool]) -> None:
    """Return while a job of the series is what the caller waits for."""
    uid = phantom.series_instance_uid
    wait_until(
        lambda: any(is_it(job) for job in node.shown(uid).get("jobs", [])),
        "a job is in its middle",
        90,
        context=node.log,
    )


def in_the_middle_of_a_model(node: Node, phantom: Phantom) -> int:
    """Send the series and return once its model, which is held still, has begun; its pid."""
    host = node.freeze_host()
    assert storescu(node.dicom_port, phantom.folder).status == 0
    during(node, phantom, segmenting)
    return host


def assert_delivered_once(node: Node, pacs: Orthanc, phantom: Phantom) -> None:
    """Wait for the end of the series, then count what the PACS has."""
    shown = node.wait_for(phantom.series_instance_uid, seconds=150)
    assert shown["state"] == "done", shown["jobs"]
    assert len(pacs.segmentations(phantom.study_instance_uid)) == 1


def test_the_files_of_a_killed_receiver_are_swept(
    start_node: StartNode, make_phantom: MakePhantom, tmp_path: Path
) -> None:
    node = start_node(Plan(rules={}))
    phantom = make_phantom(Plane.AXIAL, 27)
    assert storescu(node.dicom_port, phantom.folder).status == 0
    node.kill_all()
    leftover = node.data_dir / "spool" / "half-written"
    leftover.write_bytes(b"\0" * 1000)

    node.start()

    assert not leftover.exists()
    assert len(node.show(phantom.series_instance_uid)["files"]) == len(phantom.paths)
