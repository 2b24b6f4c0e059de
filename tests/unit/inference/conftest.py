"""One set of bundle hosts for the tests of inference, since each start takes seconds."""

from collections.abc import Iterator

import pytest

from gateway.inference import BundleHosts, Model
from tests.unit.inference.bundles import threshold_bundle


@pytest.fixture(scope="session")
def hosts() -> Iterator[BundleHosts]:
    """Bundle hosts that end with the session."""
    with BundleHosts() as running:
        yield running


@pytest.fixture(scope="session")
def thresholds(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that labels by thresholds."""
    return threshold_bundle(tmp_path_factory.mktemp("models"))
