"""Fixtures shared by all tiers."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.corpus import Corpus
from tests.peers.node import Node, Plan
from tests.peers.orthanc import Orthanc
from tests.peers.turns import turn

StartNode = Callable[[Plan], Node]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test, and set up what it needs, beside others or alone; waiting is no part of it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    with turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Real DICOM, from the folder that GATEWAY_TEST_DATA names."""
    named = os.environ.get("GATEWAY_TEST_DATA")
    if named and (Path(named) / "MANIFEST.tsv").is_file():
        return Corpus(root=Path(named), scratch=tmp_path_factory.mktemp("corpus"))
    reason = "GATEWAY_TEST_DATA names no folder with a MANIFEST.tsv"
    if named or os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    """Start gateways that end with the test."""
    with ExitStack() as running:
        count = iter(range(100))
        yield lambda plan: running.enter_context(Node(tmp_path / f"node-{next(count)}", plan))


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    """An empty Orthanc that ends with the test."""
    with Orthanc(tmp_path / "orthanc") as running:
        yield running
