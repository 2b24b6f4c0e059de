"""What a start makes of what a killed process left: all that was acknowledged, and no more."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete

from gateway.dicom.header import InstanceHeader, read_header
from gateway.errors import StoreUnavailable
from gateway.settings import Settings
from gateway.store import NodeStore, Offer, Origin, open_store
from gateway.store.instances import InstanceIndex, Receipt
from gateway.store.intake import Intake
from gateway.store.objects import SpooledObject
from gateway.store.quarantine import Quarantine
from gateway.store.schema import arrivals, instances, series, studies
from gateway.store.stored_object import StoredObject
from tests.unit.store.conftest import OpenStore
from tests.unit.store.samples import CT, EXPLICIT, SERIES, offer, origin

RECEIVER, OTHER_RECEIVER = "receiver-0", "receiver-1"


@pytest.fixture
def open_as(
    open_again: OpenStore, node_settings: Settings, request: pytest.FixtureRequest
) -> Callable[[str], NodeStore]:
    """Open the node's store as a process of this name does."""
    open_again()

    def opener(process: str) -> NodeStore:
        store = open_store(node_settings, process)
        request.addfinalizer(store.close)
        return store

    return opener


def spooled(store: NodeStore, offered: Offer, content: bytes | None = None) -> SpooledObject:
    """Write an instance under spool/ as far as it came before the process was killed."""
    file = store.objects.spool(
        sop_class_uid=CT,
        sop_instance_uid=offered.sop_instance_uid,
        transfer_syntax_uid=EXPLICIT,
        origin=origin(),
    )
    file.write(offered.data_set if content is None else content)
    return file


def receiving(settings: Settings, *offers: Offer) -> NodeStore:
    """Open the store as a receiver does, and keep instances in it."""
    store = open_store(settings, RECEIVER, ahead=4)
    for offered in offers:
        store.intake.keep(offered, origin())
    return store


def lose_rows(store: NodeStore) -> None:
    """Make the index forget what came, as a power cut does with what was not durable."""
    with store.database.writing() as connection:
        for table in (instances, arrivals, series, studies):
            connection.execute(delete(table))


def header_of(offered: Offer) -> InstanceHeader:
    return read_header(
        offered.data_set, EXPLICIT, sop_class_uid=CT, sop_instance_uid=offered.sop_instance_uid
    )


def files(settings: Settings, folder: str) -> list[Path]:
    return [path for path in (settings.node.data_dir / folder).rglob("*") if path.is_file()]


def test_a_half_written_file_goes(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    spooled(open_as(RECEIVER), offer(), offer().data_set[:50])

    assert open_as(RECEIVER).reconcile(RECEIVER) == 1

    assert files(node_settings, "spool") == []


def test_a_whole_object_whose_row_was_never_committed_goes(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    spooled(open_as(RECEIVER), offer()).publish()
    assert len(files(node_settings, "objects")) == 1

    assert open_as(RECEIVER).reconcile(RECEIVER) == 1

    assert files(node_settings, "objects") == files(node_settings, "spool") == []


def test_one_whose_row_was_committed_stays(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    store, offered = open_as(RECEIVER), offer()
    stored = spooled(store, offered).publish()
    store.instances.record(header_of(offered), stored, EXPLICIT, origin())

    again = open_as(RECEIVER)
    assert again.reconcile(RECEIVER) == 0

    assert files(node_settings, "spool") == []
    (kept,) = again.instances.of_series(SERIES)
    with again.objects.open_data_set(kept.object_key) as file:
        assert file.read() == offered.data_set


@pytest.mark.parametrize("data_set_bytes", [0, (1 << 22) - 1000, 1 << 22])
def test_one_whose_name_a_power_cut_took_gets_it_back(
    open_as: Callable[[str], NodeStore], node_settings: Settings, data_set_bytes: int
) -> None:
    """Its name under spool/ and its row are durable when it is answered; its own comes later."""
    store, offered = open_store(node_settings, RECEIVER, ahead=4), offer()
    offered = replace(offered, data_set=offered.data_set.ljust(data_set_bytes, b"\0"))
    store.intake.keep(offered, origin())
    (kept,) = store.instances.of_series(SERIES)
    if store.objects.path(kept.object_key).stat().st_nlink > 1:
        store.objects.path(kept.object_key).unlink()
    store.database.close()

    again = open_as(RECEIVER)
    assert again.reconcile(RECEIVER) == 0

    assert files(node_settings, "spool") == []
    with again.objects.open_data_set(kept.object_key) as file:
        assert file.read() == offered.data_set


def test_one_whose_row_a_power_cut_took_is_entered_again(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    """With names ahead it is answered before its row is durable; the file tells what it was."""
    store = receiving(node_settings, offer(1), offer(2))
    before = store.instances.of_series(SERIES)
    lose_rows(store)
    store.objects.path(before[0].object_key).unlink()
    store.database.close()

    again = open_as(RECEIVER)
    assert again.reconcile(RECEIVER) == 0

    assert again.instances.of_series(SERIES) == before
    assert files(node_settings, "spool") == []
    for one, offered in zip(before, (offer(1), offer(2)), strict=True):
        with again.objects.open_data_set(one.object_key) as file:
            assert file.read() == offered.data_set
    shown = again.series.get(SERIES)
    assert (shown.state, shown.calling_ae, shown.source) == ("receiving", "CT1", "c-store")


def test_of_several_contents_that_are_entered_again_the_last_is_current(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    others = [replace(offer(), data_set=offer().data_set + bytes(2 * n)) for n in range(12)]
    store = receiving(node_settings, *others)
    lose_rows(store)
    store.database.close()

    again = open_as(RECEIVER)
    assert again.reconcile(RECEIVER) == 0

    (current,) = [one for one in again.instances.of_series(SERIES) if one.current]
    with again.objects.open_data_set(current.object_key) as file:
        assert file.read() == others[-1].data_set


@pytest.mark.parametrize("lost_at", [0, 200, -1], ids=["header", "seal-or-near", "last-byte"])
def test_one_of_which_the_disk_has_a_part_only_goes(
    open_as: Callable[[str], NodeStore], node_settings: Settings, lost_at: int
) -> None:
    store = receiving(node_settings, offer())
    lose_rows(store)
    (kept,) = {path for path in files(node_settings, "spool") if path.stat().st_nlink > 1}
    content = bytearray(kept.read_bytes())
    content[lost_at] ^= 0xFF
    for path in files(node_settings, "objects"):
        path.unlink()
    kept.write_bytes(content)
    store.database.close()

    again = open_as(RECEIVER)
    assert again.reconcile(RECEIVER) == 1

    assert again.instances.of_series(SERIES) == ()
    assert files(node_settings, "spool") == []


def test_one_that_was_written_and_never_published_goes(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    store = open_store(node_settings, RECEIVER, ahead=4)
    spooled(store, offer())
    store.database.close()

    again = open_as(RECEIVER)
    assert again.reconcile(RECEIVER) == 1

    assert again.instances.of_series(SERIES) == ()
    assert files(node_settings, "objects") == files(node_settings, "spool") == []


def test_nothing_goes_from_the_spool_before_the_index_is_durable(
    open_as: Callable[[str], NodeStore], node_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = receiving(node_settings, offer())
    store.database.close()
    again = open_as(RECEIVER)

    def failing() -> None:
        raise StoreUnavailable("the index did not become durable: Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(again.database, "sync", failing)
        with pytest.raises(StoreUnavailable):
            again.reconcile(RECEIVER)
    assert any(path.stat().st_nlink > 1 for path in files(node_settings, "spool"))

    assert again.reconcile(RECEIVER) == 0

    assert files(node_settings, "spool") == []


def test_names_that_were_made_ahead_go_and_count_for_nothing(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    store = open_store(node_settings, RECEIVER, ahead=4)
    spooled(store, offer()).discard()
    assert len(files(node_settings, "spool")) == 3
    store.database.close()

    assert open_as(RECEIVER).reconcile(RECEIVER) == 0

    assert files(node_settings, "spool") == []


def test_the_same_content_that_was_acknowledged_before_stays(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    store = open_as(RECEIVER)
    store.intake.keep(offer(), origin())
    spooled(store, offer()).publish()

    assert open_as(RECEIVER).reconcile(RECEIVER) == 0

    assert files(node_settings, "spool") == []
    assert len(files(node_settings, "objects")) == 1


def test_what_another_process_has_under_way_is_left_to_it(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    under_way = spooled(open_as(OTHER_RECEIVER), offer(1))
    spooled(open_as(RECEIVER), offer(2))

    assert open_as(RECEIVER).reconcile(RECEIVER) == 1

    assert len(files(node_settings, "spool")) == 1
    under_way.discard()


def test_without_a_name_what_any_process_left_goes(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    for number, process in enumerate((RECEIVER, OTHER_RECEIVER, "worker"), start=1):
        spooled(open_as(process), offer(number)).publish()

    assert open_as("node").reconcile() == 3

    assert files(node_settings, "objects") == files(node_settings, "spool") == []


def test_a_start_that_was_killed_too_is_no_trouble_for_the_next(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    store = open_as(RECEIVER)
    stored = spooled(store, offer()).publish()
    store.objects.path(stored.key).unlink()

    assert open_as(RECEIVER).reconcile(RECEIVER) == 1

    assert files(node_settings, "spool") == []


def test_an_instance_sent_again_while_a_start_clears_its_first_copy_is_kept(
    open_as: Callable[[str], NodeStore], node_settings: Settings
) -> None:
    """The second copy finds the first in its place, which goes before the second has its row."""
    spooled(open_as(RECEIVER), offer()).publish()
    restarted, other = open_as(RECEIVER), open_as(OTHER_RECEIVER)

    class Meanwhile(InstanceIndex):
        def record(
            self,
            header: InstanceHeader,
            stored: StoredObject,
            ts: str,
            origin: Origin,
            *,
            is_durable: bool = True,
        ) -> Receipt:
            assert restarted.reconcile(RECEIVER) == 1
            return super().record(header, stored, ts, origin, is_durable=is_durable)

    intake = Intake(
        other.objects,
        Meanwhile(other.database),
        Quarantine(node_settings.node.data_dir),
        other.counters,
    )
    assert intake.keep(offer(), origin()) is Receipt.NEW

    (kept,) = other.instances.of_series(SERIES)
    with other.objects.open_data_set(kept.object_key) as file:
        assert file.read() == offer().data_set
