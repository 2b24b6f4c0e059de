"""Whether the node takes work: its processes are alive and its disk has room."""

from dataclasses import dataclass

from gateway.errors import StoreFull, StoreUnavailable
from gateway.store import NodeStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """What keeps the node from taking work; nothing when it is ready."""

    reasons: tuple[str, ...]
    processes: dict[str, str]

    @property
    def is_ready(self) -> bool:
        """Whether there is no reason against it."""
        return not self.reasons

    def as_json(self) -> dict[str, object]:
        """Return the answer of /readyz."""
        return {
            "ready": self.is_ready,
            "reasons": list(self.reasons),
            "processes": self.processes,
        }


def readiness(store: NodeStore) -> Readiness:
    """Return whether a receiver and a worker are alive and the disk is above the reserve."""
    try:
        known = store.processes.all()
    except StoreUnavailable as error:
        return Readiness(reasons=(str(error),), processes={})
    processes = {process.name: "alive" if process.is_alive else "silent" for process in known}
    alive = {name.split("-")[0] for name, state in processes.items() if state == "alive"}
    reasons = [f"no {role} is alive" for role in ("receiver", "worker") if role not in alive]
    try:
        store.objects.require_space()
    except StoreFull as error:
        reasons.append(str(error))
    return Readiness(reasons=tuple(reasons), processes=processes)
