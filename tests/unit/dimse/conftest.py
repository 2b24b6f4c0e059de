"""What every process sets that speaks DIMSE, and receivers that end with their test."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.unit.dimse.receiving import Receiver, StartReceiver
from tests.unit.dimse.switches import node_switches


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    with node_switches():
        yield


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartReceiver]:
    """Start receivers of one node."""
    with ExitStack() as running:

        def starter(**settings: Any) -> Receiver:
            receiver = Receiver(tmp_path / "data", **settings)
            running.callback(receiver.close)
            return receiver

        yield starter


@pytest.fixture
def receiver(start: StartReceiver) -> Receiver:
    """A receiver with the settings that nobody changed."""
    return start()
