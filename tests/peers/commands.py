"""Many commands of the gateway in one process: starting Python for each costs a second.

Every line of the input is a JSON list of words; for every one a line comes out, a JSON object
with what the command printed and its exit status.
"""

import contextlib
import io
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from gateway.cli import main

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST_SECONDS = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command printed and how it ended."""

    status: int
    printed: str


class Configured(Protocol):
    """A node, as far as a command needs it."""

    @property
    def config(self) -> Path:
        """Its settings file."""


class Commands:
    """The process that carries out the commands, while the ``with`` block lasts."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.peers.commands"],
                cwd=_ROOT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, *words: str) -> Answer:
        """Carry out one command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], _LONGEST_SECONDS)
        assert ready, f"no answer to {words} after {_LONGEST_SECONDS} s"
        line = self._process.stdout.readline()
        assert line, f"{words} ended its process\n{self._log.read_text(errors='replace')}"
        return Answer(**json.loads(line))

    def close(self) -> None:
        """End the process; it has nothing to finish."""
        self._process.kill()
        self._process.communicate()


def shown(node: Configured, series_instance_uids: Sequence[str]) -> list[dict[str, Any]]:
    """Return ``gateway series show UID --json`` of many series."""
    log = node.config.with_name("commands.log")
    with Commands(log, os.environ) as commands:
        return list(_shown(commands, node.config, series_instance_uids))


def _shown(commands: Commands, config: Path, uids: Sequence[str]) -> Iterator[dict[str, Any]]:
    for uid in uids:
        answer = commands.ask("series", "show", uid, "--json", "--config", str(config))
        assert answer.status == 0, answer
        yield json.loads(answer.printed)


def _answer(words: Sequence[str]) -> dict[str, object]:
    printed = io.StringIO()
    sys.argv = ["gateway", *words]
    status: object = 0
    with contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
    return {"printed": printed.getvalue(), "status": status}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answer(json.loads(line))) + "\n")
        sys.stdout.flush()
