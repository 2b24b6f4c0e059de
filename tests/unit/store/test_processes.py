"""Signs of life."""

import time

from sqlalchemy import update

from gateway.store import NodeStore
from gateway.store.schema import processes


def test_a_process_that_beats_is_alive_and_one_that_left_is_not_listed(store: NodeStore) -> None:
    store.processes.beat("worker", started_at=1.0, detail={"models": ["ct_tissue"]})
    store.processes.beat("worker", started_at=1.0, detail={"models": []})

    (process,) = store.processes.all()
    assert (process.name, process.detail, process.is_alive) == ("worker", {"models": []}, True)

    store.processes.gone("worker")
    assert store.processes.all() == ()


def test_a_process_without_a_sign_for_20_seconds_is_not_alive(store: NodeStore) -> None:
    store.processes.beat("worker", started_at=1.0, detail={})
    with store.database.writing() as connection:
        connection.execute(update(processes).values(heartbeat_at=time.time() - 21))
    assert not store.processes.all()[0].is_alive
