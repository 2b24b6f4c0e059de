"""Whether an instance is really here is answered from the disk."""

from pathlib import Path

import pytest

from gateway.store import NodeStore
from gateway.store.verification import FailureReason, Reference, Verifier
from tests.unit.store.samples import CT, MR, SERIES, offer, origin

UID = f"{SERIES}.1"


@pytest.fixture
def verifier(store: NodeStore) -> Verifier:
    store.intake.keep(offer(1), origin())
    return Verifier(store.instances, store.objects)


def verify(verifier: Verifier, uid: str = UID, sop_class_uid: str = CT) -> FailureReason | None:
    return verifier.verify(Reference(sop_class_uid=sop_class_uid, sop_instance_uid=uid))


def file_of(store: NodeStore) -> Path:
    instance = store.instances.current(UID)
    assert instance is not None
    return store.objects.path(instance.object_key)


def test_an_instance_that_is_here_can_be_committed_to(verifier: Verifier) -> None:
    assert verify(verifier) is None


def test_an_instance_that_never_came_does_not_exist(verifier: Verifier) -> None:
    assert verify(verifier, "2.25.404") is FailureReason.NO_SUCH_OBJECT_INSTANCE


def test_an_instance_of_another_class_is_a_conflict(verifier: Verifier) -> None:
    assert verify(verifier, sop_class_uid=MR) is FailureReason.CLASS_INSTANCE_CONFLICT


def test_an_instance_whose_file_is_gone_does_not_exist(
    store: NodeStore, verifier: Verifier
) -> None:
    file_of(store).unlink()
    assert verify(verifier) is FailureReason.NO_SUCH_OBJECT_INSTANCE


@pytest.mark.parametrize("damage", ["bit", "end", "header", "folder"])
def test_an_instance_whose_file_is_damaged_is_not_committed_to(
    store: NodeStore, verifier: Verifier, damage: str
) -> None:
    path = file_of(store)
    content = path.read_bytes()
    path.unlink()
    match damage:
        case "bit":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "end":
            path.write_bytes(content[:-2])
        case "header":
            path.write_bytes(bytes(200) + content[200:])
        case _:
            path.mkdir()
    assert verify(verifier) is FailureReason.PROCESSING_FAILURE


def test_of_several_contents_the_current_one_counts(store: NodeStore, verifier: Verifier) -> None:
    file_of(store).unlink()
    store.intake.keep(offer(1, SeriesDescription="corrected"), origin())
    assert verify(verifier) is None
