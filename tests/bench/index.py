"""What a full index costs: the gateway with an empty one and with a filled one."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from os import sync
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from sqlalchemy import func, make_url, select

from gateway.settings import load_settings
from gateway.store.database import Database
from gateway.store.schema import instances
from tests.bench.failure import BenchmarkFailed
from tests.bench.filling import Filling
from tests.bench.ingest import Make, Plan
from tests.bench.questions import Answered, Question, ask
from tests.bench.receivers import Gateway

EMPTY = "empty index"
FULL = "full index"


class EmptyGateway(Gateway):
    """The gateway as it is after its installation."""

    name = EMPTY


class FullGateway(Gateway):
    """The gateway with a copy of a filled index; the files of what it says it holds are not there.

    ``instances`` are those that it got besides.
    """

    name = FULL

    def __init__(self, folder: Path, associations: int, *, index: Path, filling: Filling) -> None:
        super().__init__(folder, associations)
        self._filled_with = filling.instances
        self._index_url = load_settings(self._node.config).index_url
        file = Path(make_url(self._index_url).database or "")
        file.parent.mkdir(parents=True)
        copyfile(index, file)

    def instances(self) -> int:
        database = Database(self._index_url)
        with database.reading() as connection:
            held = connection.execute(
                select(func.count()).select_from(instances).where(instances.c.current)
            ).scalar_one()
        database.close()
        return int(held) - self._filled_with


def plan_of(rounds: int) -> Plan:
    """Return the plan of one association to each of the two in turn."""
    return Plan(receivers=(EMPTY, FULL), associations=(1,), rounds=rounds)


def kinds(index: Path, filling: Filling) -> Mapping[str, Make]:
    """Return the two by their names."""
    return {EMPTY: EmptyGateway, FULL: partial(FullGateway, index=index, filling=filling)}


def answers(make: Make, asked: Sequence[Question], folder: Path) -> Iterator[Answered]:
    """Start a gateway, ask it, and yield the times.

    Raises:
        BenchmarkFailed: an answer is not the right one.
    """
    with TemporaryDirectory(prefix="receiver-", dir=folder) as place:
        receiver = make(Path(place) / "receiver", 1)
        sync()
        with receiver:
            try:
                yield from ask(receiver.port, receiver.ae_title, asked)
            except BenchmarkFailed as error:
                raise BenchmarkFailed(f"{receiver.name}: {error}\n{receiver.log()}") from error
