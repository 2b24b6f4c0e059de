"""The machine and the programs that figures were measured with."""

import os
import platform
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import torch

from gateway.version import VERSION
from tests.peers.orthanc import PROGRAM as ORTHANC_PROGRAM


def machine(storage: Path) -> dict[str, str | int | float]:
    """Describe this machine, and the file system that a folder is on."""
    return {
        "cpu": _named_in(Path("/proc/cpuinfo"), "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "file_system": _file_system(storage),
    }


def version(program: str) -> str:
    """Return the version of a receiver by its name, or of an installed distribution."""
    known = _VERSIONS.get(program)
    return known() if known else metadata.version(program)


def device_name(device: str | None) -> str:
    """Return what models run on where they are told ``device``, or choose for themselves."""
    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return torch.cuda.get_device_name(device)


def _named_in(file: Path, key: str) -> str:
    lines = (line.partition(":") for line in file.read_text().splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "unknown")


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on (proc(5), mountinfo)."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[2] == wanted:
            return line.partition(" - ")[2].split()[0]
    return "unknown"


def _printed(*command: str) -> str:
    """Return the first word with a dot and a digit in what a program says of its version."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    words = (done.stdout + done.stderr).split()
    found = (word for word in words if "." in word and word[-1].isdigit())
    return next(found, "unknown").removeprefix("v")


_VERSIONS: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "AHItoDICOM": lambda: metadata.version("AHItoDICOMInterface"),
        "gateway": lambda: VERSION,
        "sqlite": lambda: sqlite3.sqlite_version,
        "orthanc": lambda: _printed(str(ORTHANC_PROGRAM), "--version"),
        "storescp": lambda: _printed("storescp", "--version"),
    }
)
