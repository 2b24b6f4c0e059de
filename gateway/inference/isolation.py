"""What a bundle's process may not do: reach a network, or take the node down with it."""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "WANDB_MODE": "offline",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
"""Environment in which libraries that like to download use what is on the disk, or fail."""

_REACHING_OUT = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "urllib.Request"}
)
_RESOLVING = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6})
_KILLED_FIRST = b"600"


class NetworkRefused(OSError):
    """A bundle's process tried to reach a network."""


def forbid_network() -> None:
    """Let every attempt of this process to use a network raise NetworkRefused; not to be undone.

    Sockets between processes of this machine stay allowed. The guard is Python's (PEP 578): it
    stops libraries that download, not code that is out to get around it; a bundle is trusted
    code, held by its digest.
    """
    sys.addaudithook(_refuse_network)


def be_killed_first() -> None:
    """When the machine runs out of memory, let the kernel end this process before the node's."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_KILLED_FIRST)


def offline_environment() -> dict[str, str]:
    """Return this process's environment, turned so that libraries do not download."""
    return {**os.environ, **OFFLINE}


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _RESOLVING or event == "urllib.Request":
        raise NetworkRefused(_message(event))
    if event in _REACHING_OUT and getattr(arguments[0], "family", None) in _FAMILIES:
        raise NetworkRefused(_message(event))


def _message(event: str) -> str:
    return (
        f"a bundle must not use the network ({event}); put what it wants to download into its "
        "folder, and write the new digest into its descriptor"
    )
