"""What the stages of segmentations took, added up so that a restart loses nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.store.database import Database
from gateway.store.schema import stage_times
from gateway.store.statements import insert_into


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTime:
    """A stage of a model: how many jobs had it, and what it took them together."""

    model: str
    stage: str
    seconds: float
    number: int


def add_stage_times(connection: Connection, model: str, timings_ms: Mapping[str, float]) -> None:
    """Add what the stages of one job took, in a running transaction."""
    # In one order, so that two transactions never wait for each other.
    for stage, ms in sorted(timings_ms.items()):
        row = insert_into(connection, stage_times).values(
            model=model, stage=stage, seconds=ms / 1000, number=1
        )
        connection.execute(
            row.on_conflict_do_update(
                index_elements=[stage_times.c.model, stage_times.c.stage],
                set_={
                    "seconds": stage_times.c.seconds + row.excluded.seconds,
                    "number": stage_times.c.number + 1,
                },
            )
        )


class StageTimes:
    """The sums in the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> tuple[StageTime, ...]:
        """Return every sum, by model and stage."""
        statement = select(stage_times).order_by(stage_times.c.model, stage_times.c.stage)
        with self._database.reading() as connection:
            return tuple(StageTime(**row) for row in connection.execute(statement).mappings())
