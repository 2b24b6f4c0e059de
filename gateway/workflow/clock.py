"""The clock that the workflow engine expects of SQLite.

Beside Python 3.12 and newer, DBOS writes times with ``unixepoch('subsec')``, which SQLite has
since 3.42 (https://www.sqlite.org/changes.html). A Python may stand on an older SQLite, where the
word gives NULL and the engine cannot start.
"""

import sqlite3
import time
from typing import Any

_KNOWS_FRACTIONS = (3, 42)


def engine_arguments(url: str) -> dict[str, Any]:
    """Return what the engine's connections to this database need besides its URL."""
    is_old = sqlite3.sqlite_version_info < _KNOWS_FRACTIONS
    if is_old and url.startswith("sqlite"):
        return {"connect_args": {"factory": _Connection}}
    return {}


class _Connection(sqlite3.Connection):
    """A connection whose ``unixepoch('subsec')`` is the time now, in seconds since 1970."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: str) -> float | None:
    return time.time() if modifier in ("subsec", "subsecond") else None
