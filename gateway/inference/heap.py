"""Freed memory that a bundle's process keeps for its next step instead of returning it.

A network on the CPU takes and frees hundreds of megabytes for each layer. The C library gets such
pieces from the system one by one, and the system maps and clears them page by page: up to half
of the time of a network, for memory that was there a moment before.
"""

import ctypes
from collections.abc import Mapping

_VARIABLE = "GLIBC_TUNABLES"
_KEEPING = (
    "glibc.malloc.mmap_max=0",  # every piece comes from one heap
    f"glibc.malloc.trim_threshold={1 << 40}",  # that does not shrink by itself
    "glibc.malloc.hugetlb=1",  # and grows by large pages where the system has them
)


def keeping_freed_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a process keeps what it frees.

    What is set for the same purpose already stands. Without the GNU C library it has no effect.
    """
    set_already = environment.get(_VARIABLE, "")
    ours = [one for one in _KEEPING if one.partition("=")[0] not in set_already]
    return {**environment, _VARIABLE: ":".join(filter(None, [set_already, *ours]))}


def return_freed_memory() -> None:
    """Return to the system all memory that this process has freed."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # the GNU C library's own
        library.malloc_trim(0)
