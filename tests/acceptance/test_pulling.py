"""Series that are in AWS HealthImaging, segmented here: the results go to the PACS and back there.

The service is the stand-in, over the network and with signatures; what it holds is asked by boto3.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from gateway.healthimaging.metadata import image_set_instances
from gateway.testing.healthimaging import Behaviour, Fault, FaultKind
from gateway.testing.pacs import SmallPacs
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, Study, scan, write_series
from tests.peers.cloud import Cloud, open_cloud
from tests.peers.dcmtk import storescu
from tests.peers.node import MODELS, Node, Peer, Plan
from tests.peers.processes import wait_until
from tests.peers.signing import dicomweb

pytestmark = pytest.mark.peers

FRAME, METADATA, SEARCH, STORE = (
    "GetImageFrame",
    "GetImageSetMetadata",
    "SearchImageSets",
    "StoreDICOM",
)
SLICES = 8
TISSUE = """\
rule: tissue-of-the-cloud
when: {all: [{source: research}, {Modality: CT}]}
then:
  - segment: {model: ct_tissue, send_to: [pacs, cloud]}
"""
BACK = """\
rule: everything-to-the-cloud
when: {instances: {at_least: 1}}
then:
  - forward: {to: [cloud]}
"""
"""Whoever writes this has a circle: it must end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A running gateway, the cloud that it pulls from, and the folder of a small PACS."""

    node: Node
    cloud: Cloud
    pacs: Path

    def looks(self, number: int = 3) -> None:
        """Return when the source has been asked as often again."""
        until = self.cloud.faults.calls(SEARCH) + number
        wait_until(lambda: self.cloud.faults.calls(SEARCH) >= until, "the source is asked", 30, 0.1)

    def image_sets(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """Return what boto3 finds of a study, by modality."""
        key = {"DICOMStudyInstanceUID": study_instance_uid}
        found = self.cloud.client().search_image_sets(
            datastoreId=self.cloud.data_store_id,
            searchCriteria={"filters": [{"operator": "EQUAL", "values": [key]}]},
        )["imageSetsMetadataSummaries"]
        return sorted(found, key=lambda one: str(one["DICOMTags"]["DICOMSeriesModality"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """A phantom series."""

    images: Sequence[Dataset]
    files: Sequence[Path]

    @property
    def study(self) -> str:
        return str(self.images[0].StudyInstanceUID)

    @property
    def series(self) -> str:
        return str(self.images[0].SeriesInstanceUID)

    def store(self, cloud: Cloud) -> None:
        """Bring it to the cloud by STOW-RS, as somebody else does."""
        boundary = "phantom"
        parts = [
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            + file.read_bytes()
            + b"\r\n"
            for file in self.files
        ]
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        said = dicomweb(
            cloud,
            "/studies",
            body=b"".join(parts) + f"--{boundary}--\r\n".encode(),
            headers={"Content-Type": kind, "Accept": "application/dicom+json"},
        )
        assert said.status_code == 200, said.text


def settings_of(cloud: Cloud, **sources: str) -> Sequence[str]:
    """Return tables: the cloud, one that is not there, and sources with their nodes."""
    shared = f'kind = "healthimaging"\nendpoint_url = "{cloud.endpoint_url}"\n'
    stores = {"cloud": cloud.data_store_id, "gone": "f" * 32}
    nodes = [
        f'[nodes.{name}]\n{shared}region = "{cloud.stand_in.region}"\ndatastore_id = "{one}"\n'
        for name, one in stores.items()
    ]
    return nodes + [
        f'[sources.{name}]\nnode = "{node}"\nevery_seconds = 0.3\n'
        for name, node in sources.items()
    ]


@contextmanager
def open_site(folder: Path, rules: Mapping[str, str], models_dir: Path | None) -> Iterator[Site]:
    with ExitStack() as opened:
        cloud = opened.enter_context(
            open_cloud(folder / "cloud", behaviour=Behaviour(search_lag_seconds=1.0))
        )
        pacs = opened.enter_context(SmallPacs(folder / "pacs"))
        plan = Plan(
            rules=rules,
            peers={"pacs": Peer(ae_title="PACS", port=pacs.port)},
            models_dir=models_dir,
            quiet_seconds=0.5,
            longest_quiet_seconds=0.5,
            tables=settings_of(cloud, research="cloud", lost="gone"),
            environment=cloud.environment,
        )
        node = opened.enter_context(Node(folder / "node", plan))
        yield Site(node=node, cloud=cloud, pacs=folder / "pacs")


@pytest.fixture
def with_a_model(tmp_path: Path) -> Iterator[Site]:
    """A node that segments what it pulls."""
    with open_site(tmp_path, {"10.yaml": TISSUE, "20.yaml": BACK}, MODELS) as site:
        yield site


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start a node without models once; every test brings series of its own to the cloud."""
    with open_site(tmp_path_factory.mktemp("site"), {"20.yaml": BACK}, None) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.cloud.faults.clear()
    return running


@pytest.fixture
def scanned(tmp_path: Path, request: pytest.FixtureRequest) -> Scanned:
    """Scan a small CT that no other test has."""
    seed = abs(hash(request.node.name)) % 10**9
    acquisition = Acquisition(rows=64, columns=48, slices=SLICES, slice_spacing_mm=10.0, seed=seed)
    images = scan(Anatomy.asymmetric_object(), acquisition, study=Study(seed=seed))
    return Scanned(images=images, files=write_series(images, tmp_path / "series"))


def test_a_series_of_the_cloud_is_segmented_here_and_the_circle_ends(
    with_a_model: Site, scanned: Scanned
) -> None:
    site = with_a_model
    scanned.store(site.cloud)

    shown = site.node.wait_for(scanned.series)

    assert shown["state"] == "done", shown["jobs"]
    assert (shown["source"], shown["instances"], shown["revision"]) == ("research", SLICES, 1)
    assert shown["completed_because"].startswith(f"all {SLICES} instances of image set ")
    [segment] = [job for job in shown["jobs"] if job["action"] == "segment"]
    [made] = segment["results"]
    arrived = [dcmread(path, stop_before_pixels=True) for path in site.pacs.glob("*.dcm")]
    assert made in {str(one.SOPInstanceUID) for one in arrived}
    before = site.image_sets(scanned.study)
    assert [one["DICOMTags"]["DICOMSeriesModality"] for one in before] == ["CT", "SEG"]

    site.looks(6)  # it is there for long enough to be seen by the source

    after = site.image_sets(scanned.study)
    assert [one["version"] for one in after] == [1, 1], "something was sent back"
    assert site.cloud.faults.calls(FRAME) == SLICES
    assert site.cloud.faults.calls(STORE) == 2  # the phantom and its segmentation
    assert site.node.shown(scanned.series)["jobs"] == shown["jobs"]
    told = site.node.run("series", "show", scanned.series).stdout
    assert f"of source research: {SLICES} instances, version 1, done" in told


def test_a_source_that_gives_nothing_is_one_line_and_holds_up_no_other(site: Site) -> None:
    site.looks(6)

    lines = {line for line in site.node.log().splitlines() if "source_not_pulled" in line}

    [line] = lines
    assert "nodes.gone.datastore_id" in line


def test_what_the_node_sends_there_it_does_not_pull(site: Site, scanned: Scanned) -> None:
    said = storescu(site.node.dicom_port, scanned.files[0].parent, calling="CT1")
    assert said.status == 0, said.text

    shown = site.node.wait_for(scanned.series)
    site.looks(6)

    assert [one["version"] for one in site.image_sets(scanned.study)] == [1]
    assert site.cloud.faults.calls(FRAME) == 0
    after = site.node.shown(scanned.series)
    assert (after["source"], after["revision"], after["jobs"]) == ("c-store", 1, shown["jobs"])


def test_a_worker_killed_in_the_middle_goes_on_where_it_was(site: Site, scanned: Scanned) -> None:
    with_delay = Fault(operation=FRAME, kind=FaultKind.SLOW, seconds=3)
    fetch_slowly(site, scanned, with_delay)

    site.node.kill_worker()

    shown = site.node.wait_for(scanned.series)
    assert shown["state"] == "done", shown["jobs"]
    assert (shown["instances"], shown["revision"]) == (SLICES, 1)
    assert len(shown["files"]) == SLICES, "other bytes came the second time"


def test_a_node_that_is_stopped_in_the_middle_goes_on_and_fetches_nothing_twice(
    site: Site, scanned: Scanned
) -> None:
    fetch_slowly(site, scanned, Fault(operation=FRAME, kind=FaultKind.SLOW, seconds=30))
    began = time.monotonic()

    site.node.stop()

    assert time.monotonic() - began < 15
    site.cloud.faults.clear()
    site.node.start()
    assert site.node.wait_for(scanned.series)["revision"] == 1
    assert site.cloud.faults.calls(FRAME) <= SLICES
    site.cloud.faults.clear()
    site.node.stop()
    site.node.start()
    site.looks()
    assert (site.cloud.faults.calls(METADATA), site.cloud.faults.calls(FRAME)) == (0, 0)


def test_an_instance_that_never_verifies_is_told_and_the_others_are_kept(
    site: Site, scanned: Scanned
) -> None:
    contents = [file.read_bytes() for file in scanned.files]
    client = site.cloud.client()
    placed = site.cloud.import_files(contents)[0]
    answer = client.get_image_set_metadata(
        datastoreId=site.cloud.data_store_id, imageSetId=placed.image_set_id
    )
    blob = answer["imageSetMetadataBlob"].read()
    broken = image_set_instances(blob, placed.image_set_id)[3]
    site.cloud.faults.add(
        Fault(
            operation=FRAME,
            kind=FaultKind.WRONG_PIXELS,
            times=None,
            target=broken.frames[0].frame_id,
        )
    )

    shown = site.node.wait_for(scanned.series)

    assert shown["instances"] == SLICES - 1
    assert shown["completed_because"].startswith(f"{SLICES - 1} of {SLICES} instances of image")
    [pull] = shown["pulls"]
    assert list(pull["failures"]) == [broken.sop_instance_uid]
    told = site.node.run("series", "show", scanned.series).stdout
    assert f"not {broken.sop_instance_uid}: " in told
    assert "checksum" in told


def fetch_slowly(site: Site, scanned: Scanned, delay: Fault) -> None:
    """Let the source fetch a series, one frame of which does not come for a while."""
    scanned.store(site.cloud)
    site.cloud.faults.add(delay)
    wait_until(
        lambda: site.cloud.faults.calls(FRAME), "frames are fetched", 60, 0.05, site.node.log
    )
    time.sleep(0.3)
