"""Time and completion as tests need them: an index in which time has passed."""

from sqlalchemy import update

from gateway.store import NodeStore
from gateway.store.completion import CompletionIndex
from gateway.store.patience import Patience
from gateway.store.schema import associations, commitments, series


def complete(store: NodeStore, quiet_seconds: float = 0) -> int:
    """Hold complete what is, with this quiet time and no pauses; return how many series."""
    index = CompletionIndex(store.database)
    patience = Patience(quiet_seconds=quiet_seconds, longest_quiet_seconds=0)
    return index.complete(index.receiving(), patience)


def pass_time(store: NodeStore, seconds: float) -> None:
    """Let everything in the index have happened so many seconds earlier."""
    with store.database.writing() as connection:
        for table, columns in (
            (series, ("receiving_since", "last_activity_at", "asked_at", "first_activity_at")),
            (associations, ("opened_at", "closed_at")),
            (commitments, ("requested_at", "next_attempt_at")),
        ):
            values = {name: table.c[name] - seconds for name in columns}
            connection.execute(update(table).values(**values))
