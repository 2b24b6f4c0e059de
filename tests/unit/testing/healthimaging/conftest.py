"""A cloud for the tests of one module, and a phantom series to put into it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.testing.healthimaging.datasets import file_of


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with nothing in it."""
    with open_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="session")
def phantom() -> list[Dataset]:
    """Four slices of a small CT."""
    acquisition = Acquisition(rows=64, columns=48, slices=4, slice_spacing_mm=10.0)
    return scan(Anatomy.asymmetric_object(), acquisition)


@pytest.fixture(scope="session")
def phantom_files(phantom: list[Dataset]) -> list[bytes]:
    """The same as DICOM files."""
    return [file_of(dataset) for dataset in phantom]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for frames."""
    return tmp_path / "frames"


@pytest.fixture(scope="module")
def image_set_id(cloud: Cloud, phantom_files: list[bytes]) -> str:
    """The image set of the phantom, in the cloud of the module."""
    (identifier,) = {one.image_set_id for one in cloud.import_files(phantom_files)}
    return identifier
