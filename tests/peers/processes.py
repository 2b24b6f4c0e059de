"""Child processes of a test: started, watched, and gone afterwards."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def free_port() -> int:
    """Ask the operating system for a TCP port that nobody listens on.

    The port stays bound until this process ends, so that the system gives it to nobody else
    meanwhile. Whoever is to listen on it sets SO_REUSEADDR, as servers do.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = int(holder.getsockname()[1])
    holder.detach()
    return port


def wait_until(
    condition: Callable[[], T | None],
    what: str,
    seconds: float = 60,
    pause: float = 0.1,
    context: Callable[[], str] = str,
) -> T:
    """Call until the answer is not empty, and return it.

    At the deadline the assertion names ``what``, with what ``context`` then returns.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}\n{context()}")
        time.sleep(pause)


def accepts_connections(port: int) -> bool:
    """Tell whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """A process in a group of its own, its output in a file."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(os.environ if environment is None else environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def tail(self, characters: int = 4000) -> str:
        return self.output()[-characters:]

    def terminate(self, seconds: float = 30) -> int:
        """Send SIGTERM and return the exit status; a process that stays is killed."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_group()
            raise AssertionError(
                f"{self._process.args!r} ignored SIGTERM for {seconds} s"
            ) from None

    def kill_group(self) -> None:
        """Kill what is left of the process and the group it leads."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)


def processes_with(variable: str, value: str) -> dict[int, str]:
    """Return {pid: command line} of the processes that inherited an environment variable."""
    wanted = f"{variable}={value}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found[int(folder.name)] = b" ".join(words).decode(errors="replace").strip()
    return found
