"""DCMTK's storescu as the modality: one process is one association."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.failure import BenchmarkFailed

# Without it DCMTK waits 40 ms per instance for the acknowledgement of a half-filled segment.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
_LONGEST_SECONDS = 900


def send(port: int, called: str, shares: Sequence[Sequence[Path]], folder: Path) -> float:
    """Send each share over an association of its own, all at once; return the seconds it took.

    storescu ends after the response to its last C-STORE, so the time is from the first start to
    the last response. ``folder`` gets what the senders print.

    Raises:
        BenchmarkFailed: a sender was refused, got a status other than Success, or took a quarter
            of an hour.
    """
    folder.mkdir(parents=True, exist_ok=True)
    commands = [["storescu", "-aec", called, "127.0.0.1", str(port), *map(str, s)] for s in shares]
    logs = [folder / f"storescu-{number}.log" for number in range(len(shares))]
    start = time.perf_counter()
    with _started(commands, logs) as senders:
        # Without a time limit: with one, wait() looks only every 50 ms.
        statuses = [sender.wait() for sender in senders]
    seconds = time.perf_counter() - start
    for status, log in zip(statuses, logs, strict=True):
        if status != 0:
            raise BenchmarkFailed(f"storescu ended with status {status}\n{_tail(log)}")
    return seconds


@contextmanager
def _started(
    commands: Sequence[Sequence[str]], logs: Sequence[Path]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start the senders; whichever still runs at the end, or much too long, is killed."""
    senders: list[subprocess.Popen[bytes]] = []
    limit = threading.Timer(_LONGEST_SECONDS, _kill, [senders])
    limit.daemon = True
    try:
        limit.start()
        for command, log in zip(commands, logs, strict=True):
            with log.open("wb") as output:
                sender = subprocess.Popen(
                    command,
                    env=ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            senders.append(sender)
        yield senders
    finally:
        limit.cancel()
        _kill(senders)
        for sender in senders:
            sender.wait()


def _kill(senders: Sequence[subprocess.Popen[bytes]]) -> None:
    for sender in senders:
        sender.kill()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
