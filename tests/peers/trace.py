"""The system calls of a node's processes, traced with strace, and faults put into them."""

import ast
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers.processes import wait_until

TRACED = (
    "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "fsync,fdatasync,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendfile,splice,"
    "copy_file_range,ftruncate,fallocate"
)
# A page of the index with the header of its frame fits; longer data sets are cut off.
_SHOWN_BYTES = "8192"

_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|\?)(.*)")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|\?)(.*)")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"(?:AT_FDCWD|\d+)<((?:TCP|TCPv6):\[[^\]]*\][^>]*|[^>]*)>")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One system call; where others ran beside it, it has a beginning and an end of its own."""

    name: str
    arguments: str
    result: int
    begun: int
    """Line of the trace on which it began."""
    ended: int
    """Line on which it returned."""

    @property
    def has_succeeded(self) -> bool:
        """Whether it did what it was asked to."""
        return self.result >= 0

    @property
    def target(self) -> str:
        """The file or connection of its first descriptor."""
        found = _DESCRIPTOR.match(self.arguments)
        return found[1] if found else ""

    @property
    def paths(self) -> list[str]:
        """The paths in its arguments, each made absolute by the folder before it."""
        found, folder = [], ""
        for part in re.finditer(f"{_DESCRIPTOR.pattern}|{_TEXT.pattern}", self.arguments):
            if part[1] is not None:
                folder = part[1]
            else:
                found.append(str(Path(folder) / _bytes(part[2]).decode(errors="replace")))
        return found

    @property
    def content(self) -> bytes:
        """The bytes it wrote, as far as the trace shows them."""
        return b"".join(map(_bytes, _TEXT.findall(self.arguments)))


def parse(text: str) -> list[Call]:
    """Read the output of ``strace -f -yy -o``, in the order in which the calls began."""
    calls: list[Call] = []
    open_calls: dict[tuple[str, str], tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines()):
        if begun := _BEGUN.fullmatch(line):
            open_calls[begun[1], begun[2]] = (begun[3], number)
        elif resumed := _RESUMED.fullmatch(line):
            before, start = open_calls.pop((resumed[1], resumed[2]), ("", number))
            calls.append(_call(resumed[2], before + resumed[3], resumed[4], start, number))
        elif whole := _WHOLE.fullmatch(line):
            calls.append(_call(whole[2], whole[3], whole[4], number, number))
    return sorted(calls, key=lambda call: call.begun)


@contextmanager
def traced(pids: Sequence[int], output: Path) -> Iterator[None]:
    """Write the calls of running processes, all their threads and children, to a file."""
    with _strace(pids, output, f"trace={TRACED}"):
        yield


@contextmanager
def killed_at(pid: int, calls: str, *, when: int, output: Path) -> Iterator[None]:
    """kill -9 a process at the ``when``-th of these calls, before it does anything."""
    with _strace(
        [pid], output, f"trace={calls}", f"inject={calls}:signal=KILL:error=EIO:when={when}"
    ):
        yield


@contextmanager
def slowed(pid: int, calls: str, *, microseconds: int, output: Path) -> Iterator[None]:
    """Make every one of these calls of a process take longer, as a slow disk does."""
    with _strace([pid], output, f"trace={calls}", f"inject={calls}:delay_exit={microseconds}"):
        yield


@contextmanager
def _strace(pids: Sequence[int], output: Path, *expressions: str) -> Iterator[None]:
    said = output.with_suffix(".said")
    command = ["strace", "-f", "-yy", "-s", _SHOWN_BYTES, "-o", str(output)]
    command += [word for expression in expressions for word in ("-e", expression)]
    command += [word for pid in pids for word in ("-p", str(pid))]
    with said.open("wb") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors, start_new_session=True)
    try:
        wait_until(lambda: _is_attached(said, pids), "strace is attached", 20, 0.05, said.read_text)
        yield
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Detach strace; it may wait for ever for a process that it killed itself."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def _is_attached(said: Path, pids: Sequence[int]) -> bool:
    text = said.read_text()
    return all(re.search(rf"Process {pid} attached", text) for pid in pids)


def _call(name: str, arguments: str, result: str, begun: int, ended: int) -> Call:
    value = -1 if result == "?" else int(result)
    return Call(name=name, arguments=arguments, result=value, begun=begun, ended=ended)


def _bytes(shown: str) -> bytes:
    """Undo strace's escapes, which are C's and so also Python's."""
    value = ast.literal_eval(f'b"{shown}"')
    assert isinstance(value, bytes)
    return value
