"""Instances cut into parts that are sent together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.healthimaging.outgoing import Outgoing


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much is sent together at most."""

    instances: int
    size_bytes: int


STORE_REQUEST = Limits(instances=64, size_bytes=256 * 10**6)
"""Of a STOW-RS request, which may have 1 GB: what is lost with a connection is sent again."""
LARGEST_STORE_REQUEST_BYTES = 10**9
"""What one STOW-RS request may hold (AWS HealthImaging, "Storing instances")."""
IMPORT_JOB = Limits(instances=5_000, size_bytes=10 * 10**9)
"""Of an import job (AWS HealthImaging, "Endpoints and quotas")."""


def cut(instances: Iterable[Outgoing], limits: Limits) -> Iterator[Sequence[Outgoing]]:
    """Give instances in parts within limits, in their order; a larger one is a part by itself."""
    part: list[Outgoing] = []
    size_bytes = 0
    for instance in instances:
        is_full = len(part) == limits.instances
        if part and (is_full or size_bytes + instance.size_bytes > limits.size_bytes):
            yield part
            part, size_bytes = [], 0
        part.append(instance)
        size_bytes += instance.size_bytes
    if part:
        yield part
