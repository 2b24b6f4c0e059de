"""A series that is no volume gets its reason, and no SEG."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from tests.acceptance.conftest import Site
from tests.peers import raw
from tests.peers.corpus import Corpus
from tests.peers.node import MODELS, Node, Plan
from tests.peers.orthanc import Orthanc
from tests.peers.raw import to_send

pytestmark = [pytest.mark.peers, pytest.mark.corpus]

RULE = """\
rule: tissue-on-everything
when: {instances: {at_least: 1}}
then:
  - segment: {model: ct_tissue, send_to: [pacs]}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start a node whose rule asks for a volume of everything, and whose model takes MR too."""
    folder = tmp_path_factory.mktemp("refusals")
    models = folder / "models"
    models.mkdir()
    descriptor = (MODELS / "ct_tissue.yaml").read_text(encoding="utf-8")
    assert "modality: [CT]" in descriptor
    text = descriptor.replace("modality: [CT]", "modality: [CT, MR]")
    (models / "ct_tissue.yaml").write_text(text, encoding="utf-8")
    (models / "ct_tissue").symlink_to(MODELS / "ct_tissue")
    with ExitStack() as running:
        pacs = running.enter_context(Orthanc(folder / "orthanc"))
        plan = Plan(
            rules={"10.yaml": RULE},
            peers={"pacs": pacs.peer},
            models_dir=models,
            longest_quiet_seconds=1,
        )
        yield Site(node=running.enter_context(Node(folder / "node", plan)), pacs=pacs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A folder of the corpus and the word that its refusal must say."""

    folder: str
    reason: str
    name: str = "*"


GEOMETRIES = (
    Refused(folder="ct-ge-tilt-varspacing", reason="gantry-tilt"),
    Refused(folder="dicom2nifti/failing/gantrytilting/001", reason="gantry-tilt"),
    Refused(folder="dicom2nifti/failing/slicecount/001", reason="too-few-slices"),
    Refused(folder="rtutils-rtstruct/one_slice_data", reason="single-slice"),
    Refused(folder="rtutils-rtstruct/mock_data", reason="too-few-slices", name="ct_*.dcm"),
    Refused(folder="mr-siemens-xa10-enhanced/Siemens/XA10", reason="multi-phase"),
)


@pytest.mark.parametrize("case", GEOMETRIES, ids=[case.folder for case in GEOMETRIES])
def test_a_series_that_is_no_regular_grid_is_refused(
    site: Site, corpus: Corpus, case: Refused
) -> None:
    paths = [path for path in corpus.folder(case.folder) if path.match(case.name)]
    head = dcmread(paths[0], stop_before_pixels=True)
    answers = raw.send(site.node.dicom_port, [to_send(path) for path in paths])
    assert {answer.status for answer in answers} == {0}, answers

    shown = site.node.wait_for(str(head.SeriesInstanceUID))

    assert shown["state"] == "failed"
    assert [job["state"] for job in shown["jobs"]] == ["refused"]
    assert case.reason in shown["jobs"][0]["error"]
    assert shown["jobs"][0]["results"] == []
    assert site.pacs.segmentations(str(head.StudyInstanceUID)) == []
    assert len(shown["files"]) == len(paths), "what cannot be segmented is kept all the same"


def test_the_reason_stands_in_what_a_person_reads(site: Site, corpus: Corpus) -> None:
    paths = corpus.folder("ct-ge-tilt-varspacing")
    head = dcmread(paths[0], stop_before_pixels=True)
    raw.send(site.node.dicom_port, [to_send(path) for path in paths])
    site.node.wait_for(str(head.SeriesInstanceUID))

    text = site.node.run("series", "show", str(head.SeriesInstanceUID)).stdout

    assert "refused" in text
    assert "gantry-tilt" in text


def test_a_missing_slice_is_named(site: Site, corpus: Corpus, tmp_path: Path) -> None:
    paths = corpus.named(
        corpus.folder("ct-siemens-j2k-totalseg/example_ct_dicom"), "siemens-with-a-gap"
    )
    by_position = sorted(paths, key=lambda path: float(_header(path).ImagePositionPatient[2]))
    kept = [*by_position[:7], *by_position[8:]]
    series = str(_header(kept[0]).SeriesInstanceUID)

    answers = raw.send(site.node.dicom_port, [to_send(path) for path in kept])

    assert {answer.status for answer in answers} == {0}
    shown = site.node.wait_for(series)
    assert [job["state"] for job in shown["jobs"]] == ["refused"]
    assert "missing-slice" in shown["jobs"][0]["error"]


def _header(path: Path) -> Dataset:
    return dcmread(path, stop_before_pixels=True)
