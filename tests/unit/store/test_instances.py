"""The index of instances: nothing kept is lost, whoever writes at the same time."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.settings import Settings
from gateway.store import NodeStore, Receipt, SeriesState
from tests.unit.store.completing import complete
from tests.unit.store.conftest import OpenStore
from tests.unit.store.samples import IMPLICIT, SERIES, STUDY, offer, origin

ROOT = Path(__file__).resolve().parents[3]


def test_an_instance_never_seen_is_new(store: NodeStore) -> None:
    offered = offer(1)

    assert store.intake.keep(offered, origin()) is Receipt.NEW

    (kept,) = store.instances.of_series(SERIES)
    assert kept == store.instances.current(offered.sop_instance_uid)
    assert kept.current
    assert kept.size_bytes == len(offered.data_set)
    assert kept.transfer_syntax_uid == offered.transfer_syntax_uid
    with store.objects.open_data_set(kept.object_key) as file:
        assert file.read() == offered.data_set


def test_its_series_is_known_with_its_study_and_sender(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())

    series = store.series.get(SERIES)

    assert (series.study_instance_uid, series.modality, series.instances) == (STUDY, "CT", 1)
    assert (series.calling_ae, series.called_ae, series.source) == ("CT1", "GATEWAY", "c-store")


def test_the_same_bytes_again_are_a_duplicate_and_kept_once(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())

    assert store.intake.keep(offer(1), origin()) is Receipt.DUPLICATE

    assert len(store.instances.of_series(SERIES)) == 1
    assert store.counters.all() == {"instances_new": 1, "instances_duplicate": 1}


def test_other_bytes_under_the_same_uid_are_a_conflict_and_the_newer_is_current(
    store: NodeStore,
) -> None:
    store.intake.keep(offer(1), origin())
    newer = offer(1, SeriesDescription="corrected")

    assert store.intake.keep(newer, origin()) is Receipt.CONFLICT

    old, new = store.instances.of_series(SERIES)
    assert (old.current, new.current) == (False, True)
    assert store.instances.current(newer.sop_instance_uid) == new
    assert store.series.get(SERIES).instances == 1
    for kept, offered in ((old, offer(1)), (new, newer)):
        with store.objects.open_data_set(kept.object_key) as file:
            assert file.read() == offered.data_set


def test_the_same_instance_in_another_transfer_syntax_is_a_conflict(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    again = store.intake.keep(offer(1, transfer_syntax_uid=IMPLICIT), origin())
    assert again is Receipt.CONFLICT


def test_the_superseded_bytes_sent_once_more_change_nothing(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    store.intake.keep(offer(1, SeriesDescription="corrected"), origin())

    assert store.intake.keep(offer(1), origin()) is Receipt.DUPLICATE

    assert [one.current for one in store.instances.of_series(SERIES)] == [False, True]


def test_a_late_instance_opens_its_series_again(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    complete(store)

    store.intake.keep(offer(2), origin())

    assert store.series.get(SERIES).state is SeriesState.RECEIVING
    complete(store)
    assert store.series.get(SERIES).revision == 2


def test_a_conflict_opens_its_series_again(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    complete(store)
    store.intake.keep(offer(1, SeriesDescription="corrected"), origin())
    assert store.series.get(SERIES).state is SeriesState.RECEIVING


def test_a_duplicate_does_not_open_its_series_again(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    complete(store)

    store.intake.keep(offer(1), origin())

    series = store.series.get(SERIES)
    assert series.state is not SeriesState.RECEIVING
    assert (complete(store), series.revision) == (0, 1)


def test_a_result_made_here_is_never_received_nor_routed(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin(source="result"))

    series = store.series.get(SERIES)

    assert (series.state, series.revision) == (SeriesState.DONE, 1)
    assert series.completed_because == "made by this node"
    assert complete(store) == 0
    assert store.series.unrouted() == ()


def test_an_unknown_instance_has_no_current_content(store: NodeStore) -> None:
    assert store.instances.current("1.2.3") is None
    assert store.instances.of_series("1.2.3") == ()


def in_threads(works: Sequence[threading.Thread]) -> None:
    for thread in works:
        thread.start()
    for thread in works:
        thread.join()


def test_many_threads_lose_nothing(store: NodeStore) -> None:
    def work(first: int) -> None:
        for number in range(first, first + 10):
            store.intake.keep(offer(number), origin())

    in_threads([threading.Thread(target=work, args=(n * 10,)) for n in range(8)])

    assert store.series.get(SERIES).instances == 80
    assert store.counters.all() == {"instances_new": 80}


def test_the_same_instance_on_many_associations_at_once_is_kept_once(
    open_again: OpenStore,
) -> None:
    stores = [open_again() for _ in range(6)]
    for number in range(5):
        together = threading.Barrier(len(stores))
        receipts: list[Receipt] = []

        def work(
            store: NodeStore, number: int, together: threading.Barrier, receipts: list[Receipt]
        ) -> None:
            together.wait()
            receipts.append(store.intake.keep(offer(number), origin()))

        in_threads(
            [
                threading.Thread(target=work, args=(one, number, together, receipts))
                for one in stores
            ]
        )
        assert sorted(receipts) == ["duplicate"] * (len(stores) - 1) + ["new"]
    assert len(stores[0].instances.of_series(SERIES)) == 5


def test_many_contents_of_one_instance_at_once_leave_one_current(open_again: OpenStore) -> None:
    stores = [open_again() for _ in range(6)]
    together = threading.Barrier(len(stores))

    def work(number: int) -> None:
        together.wait()
        stores[number].intake.keep(offer(1, SeriesDescription=f"content {number}"), origin())

    in_threads([threading.Thread(target=work, args=(number,)) for number in range(len(stores))])

    assert sum(one.current for one in stores[0].instances.of_series(SERIES)) == 1
    assert len(stores[0].instances.of_series(SERIES)) == len(stores)
    assert stores[0].counters.all() == {
        "instances_new": 1,
        "instances_conflict": len(stores) - 1,
    }


@contextmanager
def writers(
    settings: Settings, work: str, number: int, each: int
) -> Iterator[list[subprocess.Popen[str]]]:
    """Run processes that start their work at the same moment."""
    url = settings.database.url or ""
    command = [sys.executable, "-m", "tests.unit.store.writer", str(settings.node.data_dir), url]
    running = [
        subprocess.Popen(
            [*command, work, str(one * each), str(each)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for one in range(number)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_several_processes_lose_nothing(node_settings: Settings, open_again: OpenStore) -> None:
    store = open_again()
    with writers(node_settings, "keep", 4, 50) as running:
        said = [process.communicate()[0].splitlines() for process in running]

    assert [process.returncode for process in running] == [0, 0, 0, 0]
    acknowledged = {uid for lines in said for uid in lines}
    assert len(acknowledged) == 200
    assert_whole(store, acknowledged)
    assert store.counters.all() == {"instances_new": 200}


def test_a_writer_killed_at_any_moment_leaves_all_it_acknowledged(
    node_settings: Settings, open_again: OpenStore
) -> None:
    store = open_again()
    acknowledged: set[str] = set()
    with writers(node_settings, "keep", 2, 100_000) as running:
        for process, lines in zip(running, (7, 30), strict=True):
            assert process.stdout is not None
            acknowledged |= {process.stdout.readline().strip() for _ in range(lines)}
            process.kill()
            acknowledged |= {
                line.strip() for line in process.stdout.readlines() if line.endswith("\n")
            }

    assert len(acknowledged) >= 37
    assert_whole(store, acknowledged)
    assert store.intake.keep(offer(100_000_000), origin()) is Receipt.NEW


def test_several_processes_upgrade_at_once(node_settings: Settings) -> None:
    node_settings.node.data_dir.mkdir()
    with writers(node_settings, "upgrade", 3, 0) as running:
        for process in running:
            process.communicate()
    assert [process.returncode for process in running] == [0, 0, 0]


def assert_whole(store: NodeStore, acknowledged: set[str]) -> None:
    """All that was acknowledged is in the index; all that is in the index is on disk."""
    kept = store.instances.of_series(SERIES)
    assert acknowledged <= {one.sop_instance_uid for one in kept}
    assert len({one.sop_instance_uid for one in kept}) == len(kept)
    for one in kept:
        with store.objects.open_data_set(one.object_key) as file:
            number = int(one.sop_instance_uid.rpartition(".")[2])
            assert file.read() == offer(number).data_set
