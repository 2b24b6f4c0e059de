"""A process that keeps instances, one line for each that it may call kept.

``python -m tests.unit.store.writer DATA_DIR DATABASE_URL WORK FIRST NUMBER``
"""

import sys
from pathlib import Path

from gateway.settings import DatabaseSettings, NodeSettings, Settings
from gateway.store import open_store
from gateway.store.database import Database
from tests.unit.store.samples import offer, origin


def main(data_dir: str, url: str, work: str, first: int, number: int) -> None:
    """Wait for a line, so that several start together; then upgrade the index or keep."""
    settings = Settings(
        node=NodeSettings(data_dir=Path(data_dir), reserve_gb=0),
        database=DatabaseSettings(url=url or None),
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    if work == "upgrade":
        database = Database(settings.index_url)
        database.upgrade()
        database.close()
        return
    store = open_store(settings)
    for one in range(first, first + number):
        offered = offer(one)
        store.intake.keep(offered, origin())
        sys.stdout.write(f"{offered.sop_instance_uid}\n")
        sys.stdout.flush()
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
