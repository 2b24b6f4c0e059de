"""A series goes to the cloud without names, and what is made of it there comes back with them."""

from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.healthimaging import read_image_set
from tests.conftest import StartNode
from tests.peers.cloud import Cloud, open_cloud
from tests.peers.cloud_model import segmentation
from tests.peers.corpus import Corpus
from tests.peers.dcmtk import storescu
from tests.peers.node import Plan
from tests.peers.orthanc import Orthanc

pytestmark = [pytest.mark.peers, pytest.mark.corpus]

RULES = """\
rule: ct-to-the-cloud
when: {all: [{source: c-store}, {Modality: CT}]}
then:
  - forward: {to: [cloud], deidentify: basic}
---
rule: results-of-the-cloud
when: {all: [{source: results}, {Modality: SEG}]}
then:
  - forward: {to: [pacs], reidentify: true}
"""
_SOURCE = """\
[sources.results]
node = "cloud"
every_seconds = 0.3
query = { Modality = "SEG" }
"""
NAMES = {"PatientName": "Grunwald^Ottilie", "PatientID": "MRN-48151623", "AccessionNumber": "A-1"}


def test_the_result_of_a_model_in_the_cloud_lies_on_the_right_patient(
    start_node: StartNode,
    pacs: Orthanc,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = corpus.folder("ct-siemens-j2k-totalseg/example_ct_dicom")[:4]
    paths = corpus.named(sources, "research", **NAMES)
    first = dcmread(paths[0], stop_before_pixels=True)
    with open_cloud(tmp_path / "cloud") as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        plan = Plan(
            rules={"10.yaml": RULES},
            peers={"pacs": pacs.peer},
            tables=[_node(cloud), _SOURCE],
            environment=cloud.environment,
        )
        node = start_node(plan)
        assert storescu(node.dicom_port, *paths, options=["-xv"]).status == 0
        shown = node.wait_for(str(first.SeriesInstanceUID))
        assert shown["state"] == "done", shown["jobs"]
        [there] = shown["image_sets"]

        sent = list(
            read_image_set(
                cloud.data_store_id,
                there["image_set_id"],
                region=cloud.stand_in.region,
                endpoint_url=cloud.endpoint_url,
            )
        )
        assert len(sent) == len(paths)
        assert not any(name in str(sent) for name in (*NAMES.values(), "Grunwald"))
        made = segmentation(sent)
        made.save_as(tmp_path / "made.dcm")
        cloud.import_files([tmp_path / "made.dcm"])

        found = pacs.wait_for_segmentation(str(first.StudyInstanceUID))
        (tmp_path / "back.dcm").write_bytes(pacs.retrieve(found))
        log = node.log()
    back = dcmread(tmp_path / "back.dcm")
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "FrameOfReferenceUID"):
        assert back[keyword].value == first[keyword].value
    [series] = back.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert back.pixel_array.tobytes() == made.pixel_array.tobytes()
    assert not any(name in log for name in (*NAMES.values(), "Grunwald"))


def _node(cloud: Cloud) -> str:
    return (
        f'[nodes.cloud]\nkind = "healthimaging"\nregion = "{cloud.stand_in.region}"\n'
        f'datastore_id = "{cloud.data_store_id}"\nendpoint_url = "{cloud.endpoint_url}"\n'
    )
