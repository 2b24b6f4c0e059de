"""A gateway beside a PACS: what most acceptance tests start from."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, Plane, Study, scan, write_series
from tests.peers.node import MODELS, Node, Plan
from tests.peers.orthanc import Orthanc

SEGMENT_ALL = """\
rule: tissue-on-everything
when: {Modality: {in: [CT, MR]}}
then:
  - segment: {model: ct_tissue, send_to: [pacs]}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A running gateway and the Orthanc that gets its results."""

    node: Node
    pacs: Orthanc


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start both once; every test sends series of its own."""
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as running:
        pacs = running.enter_context(Orthanc(folder / "orthanc"))
        plan = Plan(
            rules={"10-tissue.yaml": SEGMENT_ALL},
            peers={"pacs": pacs.peer},
            models_dir=MODELS,
            longest_quiet_seconds=1,
        )
        node = running.enter_context(Node(folder / "node", plan))
        pacs.know("gateway", node.ae_title, node.dicom_port)
        yield Site(node=node, pacs=pacs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phantom:
    """A scanned phantom on disk, its files in the order of their positions."""

    folder: Path
    paths: list[Path]
    anatomy: Anatomy
    acquisition: Acquisition
    study_instance_uid: str
    series_instance_uid: str


MakePhantom = Callable[[Plane, int], Phantom]


@pytest.fixture
def make_phantom(tmp_path: Path) -> MakePhantom:
    """Scan the asymmetric object in a plane, with three unequal spacings; a study per seed."""

    def make(plane: Plane, seed: int) -> Phantom:
        anatomy = Anatomy.asymmetric_object()
        acquisition = Acquisition(
            plane=plane,
            rows=112,
            columns=96,
            slices=48,
            row_spacing_mm=0.95,
            column_spacing_mm=1.2,
            slice_spacing_mm=2.1,
            centre_lps_mm=anatomy.centre_lps_mm,
            seed=seed,
            shuffled=True,
        )
        images = scan(anatomy, acquisition, study=Study(seed=seed, study_id=str(seed)))
        folder = tmp_path / f"phantom-{seed}"
        images.sort(key=lambda image: float(image.SliceLocation))
        return Phantom(
            folder=folder,
            paths=write_series(images, folder),
            anatomy=anatomy,
            acquisition=acquisition,
            study_instance_uid=str(images[0].StudyInstanceUID),
            series_instance_uid=str(images[0].SeriesInstanceUID),
        )

    return make
