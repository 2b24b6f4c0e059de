"""From a modality's C-STORE to image sets in AWS HealthImaging, by both ways, through every fault.

The service is the stand-in, over the network and with signatures; what it holds is asked by boto3.
"""

import gzip
import json
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from gateway.testing.healthimaging import Behaviour, Fault, FaultKind
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, Study, scan, write_series
from tests.conftest import StartNode
from tests.peers.cloud import Cloud, open_cloud
from tests.peers.dcmtk import storescu
from tests.peers.node import MODELS, Node, Plan
from tests.peers.processes import wait_until

pytestmark = pytest.mark.peers

STORE, START = "StoreDICOM", "StartDICOMImportJob"
CALLING = {"cloud": "STOW_CT", "bulk": "IMPORT_CT", "elsewhere": "ELSEWHERE_CT"}
RULES = {
    f"{name}.yaml": (
        f"rule: to-{name}\nwhen: {{calling_ae: {title}}}\nthen:\n  - forward: {{to: [{name}]}}\n"
    )
    for name, title in CALLING.items()
}
RULES["segment.yaml"] = """\
rule: results-to-the-cloud
when: {calling_ae: SEGMENT_CT}
then:
  - segment: {model: ct_tissue, send_to: [cloud]}
"""
WAYS = pytest.mark.parametrize("way", ["cloud", "bulk"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """A phantom series on disk."""

    folder: Path
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A running gateway and the cloud that it sends to."""

    node: Node
    cloud: Cloud

    def send(self, series: Scanned, way: str) -> None:
        said = storescu(self.node.dicom_port, series.folder, calling=CALLING.get(way, way))
        assert said.status == 0, said.text

    def image_sets(self, series_instance_uid: str) -> list[dict[str, Any]]:
        """Return what boto3 finds of a series, each with the UIDs of its instances."""
        client, data_store = self.cloud.client(), self.cloud.data_store_id
        key = {"DICOMSeriesInstanceUID": series_instance_uid}
        found = client.search_image_sets(
            datastoreId=data_store,
            searchCriteria={"filters": [{"operator": "EQUAL", "values": [key]}]},
        )["imageSetsMetadataSummaries"]
        for one in found:
            metadata = client.get_image_set_metadata(
                datastoreId=data_store, imageSetId=one["imageSetId"]
            )
            one["metadata"] = unzipped(metadata["imageSetMetadataBlob"].read())
            one["instances"] = frozenset(
                uid
                for series in json.loads(one["metadata"])["Study"]["Series"].values()
                for uid in series["Instances"]
            )
        return list(found)

    def staged(self) -> list[str]:
        found = self.cloud.s3().list_objects_v2(Bucket="staged", Prefix="node/")
        return [one["Key"] for one in found.get("Contents", ())]


def unzipped(content: bytes) -> bytes:
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def settings_of(cloud: Cloud) -> Sequence[str]:
    """Return the node's tables: one data store by two ways, and one that is not there."""
    shared = {
        "kind": "healthimaging",
        "region": cloud.stand_in.region,
        "datastore_id": cloud.data_store_id,
        "endpoint_url": cloud.endpoint_url,
        "s3_endpoint_url": cloud.s3_endpoint_url,
    }
    bulk = {
        "upload": "import-job",
        "input_s3_uri": "s3://staged/node",
        "output_s3_uri": "s3://results/out",
        "role_arn": "arn:aws:iam::111122223333:role/import",
    }
    elsewhere = {**shared, "datastore_id": "f" * 32}
    return [
        _table("cloud", shared),
        _table("bulk", {**shared, **bulk}),
        _table("elsewhere", elsewhere),
    ]


def _table(name: str, values: dict[str, str]) -> str:
    lines = [f'{key} = "{value}"' for key, value in values.items()]
    return "\n".join([f"[nodes.{name}]", *lines, ""])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start both once; every test sends series of its own."""
    folder = tmp_path_factory.mktemp("site")
    behaviour = Behaviour(import_seconds=1.0, manifest_late_seconds=0.5, search_lag_seconds=0.5)
    with ExitStack() as opened:
        cloud = opened.enter_context(
            open_cloud(folder / "cloud", behaviour=behaviour, with_s3=True)
        )
        plan = Plan(
            rules=RULES,
            models_dir=MODELS,
            quiet_seconds=0.5,
            longest_quiet_seconds=0.5,
            tables=settings_of(cloud),
            environment=cloud.environment,
        )
        yield Site(node=opened.enter_context(Node(folder / "node", plan)), cloud=cloud)


@pytest.fixture
def site(running: Site) -> Site:
    running.cloud.faults.clear()
    return running


@pytest.fixture
def scanned(tmp_path: Path, request: pytest.FixtureRequest) -> Scanned:
    """Scan a small CT that no other test has."""
    return scan_series(tmp_path / "series", request.node.name)


def scan_series(folder: Path, name: str, *, slices: int = 8, **values: str) -> Scanned:
    seed = zlib.crc32(name.encode())
    acquisition = Acquisition(rows=64, columns=48, slices=slices, slice_spacing_mm=10.0, seed=seed)
    images: list[Dataset] = scan(Anatomy.asymmetric_object(), acquisition, study=Study(seed=seed))
    for image in images:
        for keyword, value in values.items():
            setattr(image, keyword, value)
    write_series(images, folder)
    return Scanned(
        folder=folder,
        study_instance_uid=str(images[0].StudyInstanceUID),
        series_instance_uid=str(images[0].SeriesInstanceUID),
        sop_instance_uids=frozenset(str(image.SOPInstanceUID) for image in images),
    )


@WAYS
def test_a_series_is_in_the_data_store_when_its_job_is_done(
    site: Site, scanned: Scanned, way: str
) -> None:
    site.send(scanned, way)

    shown = site.node.wait_for(scanned.series_instance_uid)

    assert shown["state"] == "done", shown["jobs"]
    [found] = site.image_sets(scanned.series_instance_uid)
    assert found["instances"] == scanned.sop_instance_uids
    assert found["isPrimary"]
    assert shown["image_sets"] == [
        {
            "node": way,
            "image_set_id": found["imageSetId"],
            "version": found["version"],
            "is_primary": True,
            "instances": len(scanned.sop_instance_uids),
        }
    ]
    [job] = shown["jobs"]
    assert set(job["results"]) == scanned.sop_instance_uids
    assert (job["error"], job["warning"], job["attempts"]) == ("", "", 1)
    assert CALLING[way].encode() not in found["metadata"], "an AE title of this site left it"
    assert site.staged() == []


@WAYS
def test_a_worker_killed_in_the_middle_sends_nothing_twice(
    site: Site, scanned: Scanned, way: str
) -> None:
    """kill -9 while the request, or the import job, is under way; then all is as if it were not."""
    operation = STORE if way == "cloud" else "GetDICOMImportJob"
    site.cloud.faults.add(Fault(operation=operation, kind=FaultKind.SLOW, seconds=3))
    site.send(scanned, way)
    wait_until(
        lambda: site.cloud.faults.calls(operation), "it is under way", 60, 0.05, site.node.log
    )
    time.sleep(0.3)

    site.node.kill_worker()

    shown = site.node.wait_for(scanned.series_instance_uid)
    assert shown["state"] == "done", shown["jobs"]
    [found] = site.image_sets(scanned.series_instance_uid)
    assert (found["instances"], found["version"]) == (scanned.sop_instance_uids, 1)
    assert site.cloud.faults.calls(STORE if way == "cloud" else START) == 1
    assert site.staged() == []


def test_instances_that_fail_are_sent_again_and_no_others(site: Site, scanned: Scanned) -> None:
    failing = min(scanned.sop_instance_uids)
    site.cloud.faults.add(
        Fault(operation=STORE, kind=FaultKind.NOT_STORED, target=failing, times=2)
    )
    site.send(scanned, "cloud")

    shown = site.node.wait_for(scanned.series_instance_uid)

    assert shown["state"] == "done", shown["jobs"]
    assert shown["jobs"][0]["attempts"] == 3
    [found] = site.image_sets(scanned.series_instance_uid)
    assert found["instances"] == scanned.sop_instance_uids


@WAYS
def test_a_throttled_service_delays_a_series(site: Site, scanned: Scanned, way: str) -> None:
    for operation in (STORE, START, "GetDICOMImportJob", "SearchImageSets"):
        site.cloud.faults.add(Fault(operation=operation, kind=FaultKind.THROTTLED, times=3))
    site.send(scanned, way)

    shown = site.node.wait_for(scanned.series_instance_uid)

    assert shown["state"] == "done", shown["jobs"]
    assert len(site.image_sets(scanned.series_instance_uid)) == 1


@WAYS
def test_a_conflict_with_the_study_that_is_there_is_a_warning_that_names_it(
    site: Site, tmp_path: Path, way: str
) -> None:
    first = scan_series(tmp_path / "first", f"first-{way}")
    site.send(first, way)
    site.node.wait_for(first.series_instance_uid)
    second = scan_series(
        tmp_path / "second",
        f"second-{way}",
        StudyInstanceUID=first.study_instance_uid,
        PatientID="4711-OTHER",
        AccessionNumber="A-9",
    )
    site.send(second, way)

    shown = site.node.wait_for(second.series_instance_uid)

    assert shown["state"] == "done", shown["jobs"]
    [found] = site.image_sets(second.series_instance_uid)
    assert not found["isPrimary"]
    [image_set] = shown["image_sets"]
    assert (image_set["is_primary"], image_set["image_set_id"]) == (False, found["imageSetId"])
    [job] = shown["jobs"]
    assert "PatientID, " in job["warning"]
    assert "AccessionNumber" in job["warning"]
    told = site.node.run("series", "show", second.series_instance_uid).stdout
    assert "not primary: DICOMweb does not show it" in told
    assert "4711-OTHER" not in told + site.node.log()


def test_results_of_a_model_are_sent_as_series_are(site: Site, scanned: Scanned) -> None:
    site.send(scanned, "SEGMENT_CT")

    shown = site.node.wait_for(scanned.series_instance_uid)

    assert shown["state"] == "done", shown["jobs"]
    [segment, deliver] = shown["jobs"]
    assert (deliver["action"], deliver["node"]) == ("deliver", "cloud")
    assert deliver["results"] == segment["results"]
    key = {"DICOMStudyInstanceUID": scanned.study_instance_uid}
    found = site.cloud.client().search_image_sets(
        datastoreId=site.cloud.data_store_id,
        searchCriteria={"filters": [{"operator": "EQUAL", "values": [key]}]},
    )["imageSetsMetadataSummaries"]
    assert [one["DICOMTags"]["DICOMSeriesModality"] for one in found] == ["SEG"]


def test_a_job_waits_for_its_import_without_a_slot(site: Site, tmp_path: Path) -> None:
    """More import jobs run at once than a node has slots for deliveries, which are four."""
    series = [scan_series(tmp_path / str(n), f"slot-{n}", slices=1) for n in range(7)]
    for one in series:
        site.send(one, "bulk")

    def at_once() -> int:
        jobs = site.cloud.client().list_dicom_import_jobs(datastoreId=site.cloud.data_store_id)
        states = [one["jobStatus"] for one in jobs["jobSummaries"]]
        return sum(state in ("SUBMITTED", "IN_PROGRESS") for state in states)

    wait_until(lambda: at_once() > 4, "more than four import jobs run", 60, 0.1, site.node.log)
    for one in series:
        assert site.node.wait_for(one.series_instance_uid)["state"] == "done"


def test_a_data_store_that_is_not_there_is_one_dead_job_with_one_line(
    site: Site, scanned: Scanned
) -> None:
    site.send(scanned, "elsewhere")
    shown = site.node.wait_for(scanned.series_instance_uid)
    assert_dead(shown, "nodes.elsewhere.datastore_id")
    assert site.cloud.faults.calls(STORE) == 1, "it was tried again"


def test_wrong_credentials_are_one_dead_job_with_one_line(
    site: Site, scanned: Scanned, start_node: StartNode
) -> None:
    plan = Plan(
        rules={"cloud.yaml": RULES["cloud.yaml"]},
        quiet_seconds=0.5,
        tables=settings_of(site.cloud),
        environment={**site.cloud.environment, "AWS_SECRET_ACCESS_KEY": "wrong"},
    )
    node = start_node(plan)
    said = storescu(node.dicom_port, scanned.folder, calling=CALLING["cloud"])
    assert said.status == 0, said.text
    assert_dead(node.wait_for(scanned.series_instance_uid), "AWS_SECRET_ACCESS_KEY")


def assert_dead(shown: dict[str, Any], setting: str) -> None:
    [job] = shown["jobs"]
    assert (job["state"], job["attempts"]) == ("dead", 1)
    assert setting in job["error"]
    assert "\n" not in job["error"]
