"""What the index forgets, on both databases: the past of peers, never what is still of use."""

import pytest
from sqlalchemy import func, select

from gateway.store import NodeStore
from gateway.store.commitments import Commitment, CommitmentIndex
from gateway.store.history import KEPT_SECONDS, History
from gateway.store.schema import arrivals, associations, commitments
from gateway.store.verification import Reference
from tests.unit.store.completing import complete, pass_time
from tests.unit.store.samples import CT, SERIES, offer, origin

HOUR_SECONDS = 3600
OTHER = "2.25.99"


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def bring(store: NodeStore, association: str, *, series: str = SERIES, ended: bool = True) -> None:
    """Bring an instance of a series over an association of its own."""
    store.associations.opened(association, "receiver-0", origin(association), "10.0.0.5")
    store.intake.keep(offer(1, series=series), origin(association))
    if ended:
        store.associations.closed(association, "released")


def known(store: NodeStore) -> tuple[list[str], int]:
    """Return the associations that are known, and how many series they brought."""
    with store.database.reading() as connection:
        ids = connection.execute(select(associations.c.id).order_by(associations.c.id))
        names = list(ids.scalars())
        return names, int(
            connection.execute(select(func.count()).select_from(arrivals)).scalar_one()
        )


def forgotten(store: NodeStore, seconds: float = KEPT_SECONDS + 1) -> int:
    """Let time pass, and forget what is too old; return how many rows that were."""
    pass_time(store, seconds)
    return History(store.database).tend()


@pytest.fixture
def requests(store: NodeStore) -> CommitmentIndex:
    return CommitmentIndex(store.database)


def requested(requests: CommitmentIndex, transaction_uid: str) -> Commitment:
    """Enter a request whose report is due."""
    found = requests.enter(
        transaction_uid=transaction_uid,
        calling_ae="CT1",
        called_ae="GATEWAY",
        host="10.0.0.5",
        requested=[Reference(sop_class_uid=CT, sop_instance_uid=f"{SERIES}.1")],
    )
    assert found is not None
    return found


def count_of_requests(store: NodeStore) -> int:
    with store.database.reading() as connection:
        statement = select(func.count()).select_from(commitments)
        return int(connection.execute(statement).scalar_one())


class TestAssociations:
    """They go a month after they ended, with what they brought."""

    def test_an_old_one_of_a_complete_series_goes(self, store: NodeStore) -> None:
        bring(store, "a")
        complete(store)
        assert forgotten(store) == 2
        assert known(store) == ([], 0)

    def test_its_series_and_instances_stay(self, store: NodeStore) -> None:
        bring(store, "a")
        complete(store)
        forgotten(store)
        assert store.series.get(SERIES).revision == 1
        assert len(store.instances.of_series(SERIES)) == 1

    def test_a_recent_one_stays(self, store: NodeStore) -> None:
        bring(store, "a")
        complete(store)
        assert forgotten(store, KEPT_SECONDS - 60) == 0
        assert known(store) == (["a"], 1)

    def test_an_open_one_stays_however_old(self, store: NodeStore) -> None:
        bring(store, "a", ended=False)
        assert forgotten(store) == 0
        assert known(store) == (["a"], 1)

    def test_one_of_a_series_that_is_receiving_stays(self, store: NodeStore) -> None:
        """How it ended decides how long the series is waited for."""
        bring(store, "a")
        bring(store, "b", series=OTHER)
        complete(store)
        pass_time(store, KEPT_SECONDS + 1)
        store.intake.keep(offer(2, series=OTHER), origin())  # late: the series is open again
        assert History(store.database).tend() == 2
        assert known(store) == (["b"], 1)

    def test_thousands_go_in_several_transactions(self, store: NodeStore) -> None:
        with store.database.writing() as connection:
            rows = [
                {
                    "id": f"{number:04}",
                    "receiver": "receiver-0",
                    "calling_ae": "CT1",
                    "called_ae": "GATEWAY",
                    "host": "10.0.0.5",
                    "opened_at": 0.0,
                    "closed_at": 1.0,
                    "ended": "released",
                }
                for number in range(2001)
            ]
            connection.execute(associations.insert(), rows)
        assert History(store.database).forget(before=2.0) == 2001
        assert known(store) == ([], 0)


class TestCommitments:
    """Requests go a month after they were made, once they were reported on."""

    def test_one_that_was_reported_on_goes(
        self, store: NodeStore, requests: CommitmentIndex
    ) -> None:
        requests.reported(requested(requests, "2.25.1234"))
        assert forgotten(store) == 1
        assert count_of_requests(store) == 0

    def test_one_whose_report_is_due_stays(
        self, store: NodeStore, requests: CommitmentIndex
    ) -> None:
        requested(requests, "2.25.1234")
        assert forgotten(store) == 0
        assert count_of_requests(store) == 1


class TestPace:
    """It looks once an hour."""

    def test_nothing_is_looked_at_in_between(self, store: NodeStore) -> None:
        clock = Clock()
        history = History(store.database, clock)
        history.tend()
        bring(store, "a")
        complete(store)
        clock.now = 4e9  # long after all that this test did
        assert history.tend() == 2
        bring(store, "b")
        complete(store)
        clock.now += HOUR_SECONDS - 1
        assert history.tend() == 0
        clock.now += 1
        assert history.tend() == 2
