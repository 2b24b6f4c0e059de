"""A series goes to research without names, and what is made of it comes to the PACS with them."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from tests.conftest import StartNode
from tests.peers.cloud_model import segmentation
from tests.peers.corpus import Corpus
from tests.peers.dcmtk import storescu
from tests.peers.node import Plan
from tests.peers.orthanc import Orthanc

pytestmark = [pytest.mark.peers, pytest.mark.corpus]

RULES = """\
rule: ct-to-research
when: {Modality: CT, BurnedInAnnotation: {exists: false}}
then:
  - forward: {to: [research], deidentify: basic}
---
rule: results-of-research
when: {Modality: SEG, calling_ae: ORTHANC}
then:
  - forward: {to: [pacs], reidentify: true}
"""
NAMES = {"PatientName": "Grunwald^Ottilie", "PatientID": "MRN-48151623", "AccessionNumber": "A-1"}


def test_there_and_back_over_a_crash(
    start_node: StartNode, pacs: Orthanc, corpus: Corpus, tmp_path: Path
) -> None:
    paths = corpus.named(
        corpus.folder("ct-siemens-j2k-totalseg/example_ct_dicom")[:4], "research", **NAMES
    )
    first = dcmread(paths[0], stop_before_pixels=True)
    with Orthanc(tmp_path / "research") as research:
        peers = {"pacs": pacs.peer, "research": research.peer}
        node = start_node(Plan(rules={"10.yaml": RULES}, peers=peers))
        research.know("gateway", node.ae_title, node.dicom_port)

        assert storescu(node.dicom_port, *paths, options=["-xv"]).status == 0
        shown = node.wait_for(str(first.SeriesInstanceUID))
        assert shown["state"] == "done", shown["jobs"]
        sent = received(research, tmp_path)
        assert len(sent) == len(paths)
        for instance in sent:
            assert instance.PatientIdentityRemoved == "YES"
            assert not any(name in str(instance) for name in (*NAMES.values(), "Grunwald"))

        node.kill_all()
        node.start()
        made = segmentation(sent)
        made.save_as(tmp_path / "made.dcm")
        research.upload(tmp_path / "made.dcm")
        (seg,) = research.instances(Modality="SEG")
        research.send_to("gateway", seg["ID"])

        found = pacs.wait_for_segmentation(str(first.StudyInstanceUID))
        (tmp_path / "back.dcm").write_bytes(pacs.retrieve(found))
        node.wait_for(str(made.SeriesInstanceUID))
        log = node.log()
    back = dcmread(tmp_path / "back.dcm")
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "FrameOfReferenceUID"):
        assert back[keyword].value == first[keyword].value
    (series,) = back.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert back.PixelData == made.PixelData
    assert not any(name in log for name in (*NAMES.values(), "Grunwald"))
    assert (node.data_dir / "deidentification.key").stat().st_mode & 0o777 == 0o600
    assert not list((node.data_dir / "outgoing").iterdir())


def received(research: Orthanc, folder: Path) -> list[Dataset]:
    """Return what research has got, as it reads it."""
    instances: list[Dataset] = []
    for number, item in enumerate(research.instances(Modality="CT")):
        path = folder / f"received-{number}.dcm"
        path.write_bytes(research.retrieve(research.uids(item["ID"])))
        instances.append(dcmread(path))
    return instances
