"""What a process of the node holds, and what the node complains of."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.node import Node


@dataclass(frozen=True, kw_only=True, slots=True)
class Vitals:
    """A process's memory and descriptors."""

    resident_kb: int
    descriptors: int
    """Open descriptors of every kind."""
    sockets: int
    """Those among them that are sockets."""


def vitals(pid: int) -> Vitals:
    """Read a process's VmRSS and count its open descriptors."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    opened = list(map(_opened, Path(f"/proc/{pid}/fd").iterdir()))
    return Vitals(
        resident_kb=int(line.split()[1]),
        descriptors=len(opened),
        sockets=sum(name.startswith("socket:") for name in opened),
    )


def _opened(descriptor: Path) -> str:
    """Return what a descriptor stands for; one that was closed meanwhile is nothing."""
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:
        return ""


def of_role(node: Node, role: str) -> list[int]:
    """Return the process ids of a role of the node, in the order they were started."""
    return sorted(pid for pid, words in node.processes().items() if f"--role {role}" in words)


def complaints(log: str) -> list[str]:
    """Return the log's lines at error level, and those that are no JSON: stray tracebacks."""
    return [line for line in log.splitlines() if line.strip() and not _is_in_order(line)]


def _is_in_order(line: str) -> bool:
    try:
        entry: Any = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(entry, dict) and entry.get("level") not in ("error", "critical")
