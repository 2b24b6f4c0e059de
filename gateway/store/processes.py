"""The node's processes and their heartbeats: readiness is read from here."""

import os
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select

from gateway.store.database import Database
from gateway.store.schema import processes
from gateway.store.statements import insert_into

HEARTBEAT_SECONDS = 5.0
_STALE_SECONDS = 4 * HEARTBEAT_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process that said it is ready."""

    name: str
    """Its role, with a number where there are several: ``receiver-0``, ``worker``."""
    pid: int
    started_at: float
    heartbeat_at: float
    detail: dict[str, Any]

    @property
    def is_alive(self) -> bool:
        """Whether it gave a sign of life lately."""
        return time.time() - self.heartbeat_at < _STALE_SECONDS


class ProcessIndex:
    """The processes of this node."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, name: str, *, started_at: float, detail: dict[str, Any]) -> None:
        """Say that this process is ready and alive."""
        row = {
            "pid": os.getpid(),
            "started_at": started_at,
            "heartbeat_at": time.time(),
            "detail": detail,
        }
        with self._database.writing() as connection:
            connection.execute(
                insert_into(connection, processes)
                .values(name=name, **row)
                .on_conflict_do_update(index_elements=[processes.c.name], set_=row)
            )

    def gone(self, name: str) -> None:
        """Take a process off the list."""
        with self._database.writing() as connection:
            connection.execute(delete(processes).where(processes.c.name == name))

    def all(self) -> tuple[Process, ...]:
        """Return the processes that are ready or were."""
        with self._database.reading() as connection:
            rows = connection.execute(select(processes).order_by(processes.c.name)).mappings()
            return tuple(Process(**row) for row in rows)
