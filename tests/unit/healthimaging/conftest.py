"""Credentials that no AWS account has."""

from collections.abc import Iterator

import pytest
from pydicom import Dataset

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.healthimaging.clouds import file_of, log_in

ACCESS_KEY, SECRET_KEY, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a+/="


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own configuration reaches a test."""
    for name in ("AWS_PROFILE", "AWS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


@pytest.fixture(scope="module")
def running_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that the tests of a module share."""
    with open_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture
def cloud(running_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The cloud, without faults, and its credentials in the environment."""
    log_in(running_cloud, monkeypatch)
    running_cloud.faults.clear()
    return running_cloud


@pytest.fixture(scope="session")
def slices() -> list[Dataset]:
    """Twelve slices of a small CT."""
    acquisition = Acquisition(rows=64, columns=48, slices=12, slice_spacing_mm=10.0)
    scanned = scan(Anatomy.asymmetric_object(), acquisition)
    return sorted(scanned, key=lambda one: int(one.InstanceNumber))


@pytest.fixture
def image_set_id(cloud: Cloud, slices: list[Dataset]) -> str:
    """The image set of those slices, imported last slice first."""
    placed = cloud.import_files([file_of(one) for one in reversed(slices)])
    return placed[0].image_set_id
