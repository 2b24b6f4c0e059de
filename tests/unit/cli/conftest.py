"""The command line as a person meets it: words in, an exit status and text out."""

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from gateway.cli import main
from tests.unit.dimse.switches import restored_switches


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Run a command in an empty folder, without settings from elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def runner(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["gateway", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Said(status=code if isinstance(code, int) else 0, out=printed.out, err=printed.err)

    with restored_switches():
        yield runner


@pytest.fixture
def node(run: Run, tmp_path: Path) -> Path:
    """A folder that ``gateway init`` wrote; the settings file in it."""
    assert run("init").status == 0
    return tmp_path / "gateway.toml"


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """Undo what a command does to the logs of its process."""
    handlers = logging.getLogger().handlers[:]
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
