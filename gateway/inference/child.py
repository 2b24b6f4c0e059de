"""Processes of this package that serve one parent over a socket pair, and end with it."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import gateway

_PARENT_CHECK_MS = 1000
_END_SECONDS = 5.0


def start_child(
    module: str,
    connection: socket.socket,
    *,
    interpreter: Path = Path(sys.executable),
    environment: Mapping[str, str] = os.environ,
) -> subprocess.Popen[bytes]:
    """Run a module of this package with one end of a socket pair as its only argument.

    It finds this very package, from wherever this process was started. Raises OSError where the
    interpreter does not run.
    """
    package_parent = str(Path(gateway.__file__).parent.parent)
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [str(interpreter), "-P", "-B", "-W", "ignore", "-m", module, str(connection.fileno())],
        pass_fds=[connection.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=2,  # what foreign code prints must not mix with our own output
        env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
    )


def outlive_signals_but_not_the_parent(connection: socket.socket) -> None:
    """Leave ending to the parent, which drains first; end at once when the parent is gone.

    A service manager or a terminal signals the whole group of processes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watch = threading.Thread(
        target=_exit_with_parent, args=(connection.fileno(), os.getppid()), daemon=True
    )
    watch.start()


def _exit_with_parent(connection_fd: int, parent_pid: int) -> None:
    # Not PR_SET_PDEATHSIG: that fires when the thread that started this process ends.
    poll = select.poll()
    poll.register(connection_fd, select.POLLRDHUP)
    while not poll.poll(_PARENT_CHECK_MS) and os.getppid() == parent_pid:
        continue
    os._exit(0)


def end_child(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and reap it, unless a driver holds it."""
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)


def how_it_ended(process: subprocess.Popen[bytes]) -> str:
    """Return what became of a process that closed its end of the socket pair."""
    try:
        status = process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        return "closed its connection"
    if status == -signal.SIGKILL:
        return "was ended by signal 9, as when the machine runs out of memory"
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
