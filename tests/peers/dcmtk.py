"""DCMTK's tools: a modality's SCU and a strict SCP."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.peers.processes import Child, accepts_connections, free_port, wait_until

# Without it every DCMTK sender waits 40 ms per instance for the acknowledgement of a half-filled
# segment.
_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """How a tool ended and what it printed."""

    status: int
    text: str


def echoscu(
    port: int,
    *,
    calling: str = "ECHOSCU",
    called: str = "GATEWAY",
    options: Sequence[str] = (),
) -> Said:
    """Verify a peer of this machine."""
    command = ["echoscu", "-v", "-to", "10", "-aet", calling, "-aec", called]
    return _run([*command, *options, *_at(port)])


def storescu(
    port: int,
    *paths: Path,
    calling: str = "STORESCU",
    called: str = "GATEWAY",
    options: Sequence[str] = (),
) -> Said:
    """Send files and folders; every response's status is in the text."""
    command = ["storescu", "-v", "-nh", "-to", "10", "+sd", "+r", "-aet", calling, "-aec", called]
    return _run([*command, *options, *_at(port), *map(str, paths)])


def findscu(
    port: int, model: str, *keys: str, answers: Path | None = None, options: Sequence[str] = ()
) -> Said:
    """Query a peer in an information model, ``-P`` or ``-S``; write the answers to a folder."""
    extract = [] if answers is None else ["-X", "-od", str(answers)]
    return _run([*_asking("findscu", model, keys), *extract, *options, *_at(port)])


def movescu(
    port: int, model: str, *keys: str, destination: str, options: Sequence[str] = ()
) -> Said:
    """Ask a peer to send what the keys name to a destination."""
    command = _asking("movescu", model, keys)
    return _run([*command, "-aem", destination, *options, *_at(port)])


def getscu(port: int, model: str, *keys: str, folder: Path, options: Sequence[str] = ()) -> Said:
    """Get what the keys name, each instance exactly as it comes."""
    command = _asking("getscu", model, keys)
    return _run([*command, "+B", "-od", str(folder), *options, *_at(port)])


def _asking(tool: str, model: str, keys: Sequence[str]) -> list[str]:
    named = [word for key in keys for word in ("-k", key)]
    return [tool, "-d", "-to", "10", model, "-aet", "WORKSTATION", "-aec", "GATEWAY", *named]


def _at(port: int) -> list[str]:
    return ["127.0.0.1", str(port)]


def _run(command: Sequence[str]) -> Said:
    done = subprocess.run(
        command,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    return Said(status=done.returncode, text=done.stdout.decode(errors="replace"))


class StoreScp:
    """storescp that writes every data set exactly as it came in."""

    ae_title = "STORESCP"

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._received = folder / "received"
        self._received.mkdir(parents=True)
        self._log = folder / "storescp.log"
        self._options = options or ("+xa", "-pm")
        self._child: Child | None = None

    def __enter__(self) -> Self:
        command = ["storescp", "-v", "+B", *self._options, "-aet", self.ae_title]
        self._child = Child(
            [*command, "-od", str(self._received), str(self.port)],
            log=self._log,
            environment=_ENVIRONMENT,
        )
        wait_until(lambda: accepts_connections(self.port), "storescp listens", 10)
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill_group()

    def files(self) -> list[Path]:
        """Return the files received so far."""
        return sorted(path for path in self._received.iterdir() if path.is_file())
