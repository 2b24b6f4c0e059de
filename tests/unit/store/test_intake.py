"""What is let in, what is refused, and what is set aside."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import DataSetUnreadable, GatewayError, InstanceMismatch, StoreFull
from gateway.settings import Settings
from gateway.store import NodeStore, Offer, open_store
from tests.unit.store.samples import (
    CT,
    EXPLICIT,
    MR,
    ODD_PRIVATE_ELEMENT,
    PATIENT_ID,
    SERIES,
    encoded,
    offer,
    origin,
)
from tests.unit.store.test_objects import no_file_longer_than


def quarantine(settings: Settings, suffix: str) -> list[Path]:
    return sorted((settings.node.data_dir / "quarantine").glob(f"*{suffix}"))


def nameless(content: bytes = b"this is not DICOM") -> Offer:
    return Offer(
        data_set=content,
        transfer_syntax_uid=EXPLICIT,
        sop_class_uid=CT,
        sop_instance_uid="2.25.66",
    )


def test_bytes_are_kept_as_they_came_also_where_they_break_the_standard(store: NodeStore) -> None:
    odd = replace(offer(1), data_set=offer(1).data_set + ODD_PRIVATE_ELEMENT)

    store.intake.keep(odd, origin())

    (kept,) = store.instances.of_series(SERIES)
    with store.objects.open_data_set(kept.object_key) as file:
        assert file.read() == odd.data_set


def test_what_cannot_be_understood_is_set_aside_with_a_note(
    store: NodeStore, node_settings: Settings
) -> None:
    with pytest.raises(DataSetUnreadable):
        store.intake.keep(nameless(), origin())

    (content,) = quarantine(node_settings, ".bin")
    (note,) = quarantine(node_settings, ".json")
    assert content.read_bytes() == b"this is not DICOM"
    assert note.stem == content.stem
    said = json.loads(note.read_text())
    assert said.pop("reason")
    assert said == {
        "sop_instance_uid": "2.25.66",
        "sop_class_uid": CT,
        "transfer_syntax_uid": EXPLICIT,
        "calling_ae": "CT1",
    }
    assert store.counters.all() == {"quarantined": 1}
    assert store.series.all() == ()


def test_the_note_says_nothing_of_the_patient(store: NodeStore, node_settings: Settings) -> None:
    with pytest.raises(DataSetUnreadable):
        store.intake.keep(nameless(encoded(StudyInstanceUID="")), origin())
    (note,) = quarantine(node_settings, ".json")
    assert PATIENT_ID not in note.read_text()


def test_each_refusal_is_set_aside_for_itself(store: NodeStore, node_settings: Settings) -> None:
    for _ in range(5):
        with pytest.raises(DataSetUnreadable):
            store.intake.keep(nameless(), origin())
    assert len(quarantine(node_settings, ".bin")) == 5
    assert store.counters.all() == {"quarantined": 5}


@pytest.mark.parametrize(
    ("named", "what"),
    [({"sop_instance_uid": "2.25.67"}, "Instance"), ({"sop_class_uid": MR}, "Class")],
)
def test_a_command_that_names_something_else_is_refused(
    store: NodeStore, named: dict[str, str], what: str
) -> None:
    lying = replace(offer(1), **named)  # type: ignore[arg-type]

    with pytest.raises(InstanceMismatch, match=f"SOP {what} UID of command and data set differ"):
        store.intake.keep(lying, origin())

    assert store.series.all() == ()
    assert store.counters.all() == {"refused_instance_mismatch": 1}


def test_below_the_reserve_nothing_is_kept_and_it_is_counted(
    store: NodeStore, node_settings: Settings
) -> None:
    node = node_settings.node.model_copy(update={"reserve_gb": 10_000_000})
    full = open_store(node_settings.model_copy(update={"node": node}))
    try:
        with pytest.raises(StoreFull, match="reserve"):
            full.intake.keep(offer(1), origin())
        with pytest.raises(StoreFull):
            full.intake.keep(nameless(), origin())
    finally:
        full.close()
    assert store.series.all() == ()
    assert store.counters.all() == {"refused_store_full": 2}
    assert quarantine(node_settings, "") == []


def test_a_disk_that_fills_up_refuses_without_a_trace_and_is_counted(store: NodeStore) -> None:
    large = replace(offer(1), data_set=offer(1).data_set + bytes(3_000_000))
    with no_file_longer_than(2_000_000), pytest.raises(StoreFull):
        store.intake.keep(large, origin())
    assert store.series.all() == ()
    assert store.counters.all() == {"refused_store_full": 1}


def test_a_disk_too_full_for_quarantine_is_an_error_of_the_gateway(store: NodeStore) -> None:
    with no_file_longer_than(2_000_000), pytest.raises(GatewayError):
        store.intake.keep(nameless(b"\xff" * 3_000_000), origin())


def test_a_name_that_no_database_can_hold_is_refused_or_kept(store: NodeStore) -> None:
    """A NUL inside a text is one: PostgreSQL takes none."""
    content = offer(1).data_set.replace(b"CS\x02\x00CT", b"CS\x04\x00C\0TX")
    assert content != offer(1).data_set
    try:
        store.intake.keep(replace(offer(1), data_set=content), origin())
    except GatewayError:
        return
    assert store.series.get(SERIES).instances == 1
