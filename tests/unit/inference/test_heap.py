"""A bundle's process keeps the memory that it frees, until it has nothing to do."""

import os
import subprocess
import sys

from gateway.inference.heap import keeping_freed_memory

_SCRIPT = """
import resource, torch
from pathlib import Path
from gateway.inference.heap import return_freed_memory

def held_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

def use():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(200 << 18).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

again = min(use() for _ in range(8))
held = held_mb()
return_freed_memory()
print(again, held, held_mb())
"""


def run(environment: dict[str, str]) -> list[int]:
    command = [sys.executable, "-W", "ignore", "-c", _SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_what_was_freed_is_used_again_and_returned_when_asked() -> None:
    faults, held_mb, returned_to_mb = run(keeping_freed_memory(os.environ))
    assert faults < 50
    assert held_mb - returned_to_mb > 190


def test_without_it_every_page_comes_anew() -> None:
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    faults, _, _ = run(plain)
    assert faults >= 100  # of 2 MB at the largest


def test_what_the_administrator_set_stands() -> None:
    environment = {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=7", "A": "B"}
    kept = keeping_freed_memory(environment)
    assert kept["A"] == "B"
    assert kept["GLIBC_TUNABLES"].startswith("glibc.malloc.mmap_max=7:")
    assert kept["GLIBC_TUNABLES"].count("mmap_max") == 1
