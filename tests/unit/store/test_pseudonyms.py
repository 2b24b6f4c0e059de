"""What pseudonyms stand for is kept sealed, survives, and is found again by the key only."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from gateway.dicom.deidentification import Original, OriginalKind
from gateway.errors import KeyUnusable
from gateway.settings import Settings
from gateway.store import NodeStore, open_store
from gateway.store.schema import pseudonyms


def uid(number: int) -> Original:
    return Original(
        kind=OriginalKind.UID, pseudonym=f"2.25.{number}", values={"uid": f"1.2.3.{number}"}
    )


def patient(name: str = "Grünwald^Ottilie") -> Original:
    return Original(kind=OriginalKind.PATIENT, pseudonym="P1", values={"PatientName": name})


@pytest.fixture
def node(node_settings: Settings) -> Iterator[NodeStore]:
    store = opened(node_settings)
    yield store
    store.close()


def opened(settings: Settings) -> NodeStore:
    store = open_store(settings)
    store.database.upgrade()
    return store


def test_what_was_remembered_is_found(node: NodeStore) -> None:
    node.pseudonyms.remember([uid(1), uid(2), patient()])
    assert node.pseudonyms.find(OriginalKind.UID, ["2.25.1", "2.25.3"]) == {
        "2.25.1": {"uid": "1.2.3.1"}
    }
    assert node.pseudonyms.find(OriginalKind.PATIENT, ["P1"]) == {
        "P1": {"PatientName": "Grünwald^Ottilie"}
    }


def test_a_name_that_was_corrected_is_the_one_that_counts(node: NodeStore) -> None:
    node.pseudonyms.remember([patient(), uid(1)])
    node.pseudonyms.remember([patient("Grünwald^Ottilie^Maria"), uid(1), uid(1)])
    found = node.pseudonyms.find(OriginalKind.PATIENT, ["P1"])
    assert found["P1"]["PatientName"] == "Grünwald^Ottilie^Maria"


def test_a_whole_study_is_remembered_at_once(node: NodeStore) -> None:
    node.pseudonyms.remember([uid(number) for number in range(1201)])
    wanted = [f"2.25.{number}" for number in range(1201)]
    assert len(node.pseudonyms.find(OriginalKind.UID, wanted)) == 1201


def test_no_row_can_be_read_without_the_key(node: NodeStore) -> None:
    node.pseudonyms.remember([uid(1), patient()])
    with node.database.reading() as connection:
        rows = connection.execute(select(pseudonyms)).mappings().all()
    assert len(rows) == 2
    assert not any(b"1.2.3" in row["sealed"] or b"nwald" in row["sealed"] for row in rows)


def test_the_same_pseudonyms_are_made_after_a_restart(node_settings: Settings) -> None:
    first = opened(node_settings)
    made = first.pseudonyms.pseudonyms().uid("1.2.3")
    first.pseudonyms.remember([uid(1)])
    first.close()
    second = open_store(node_settings)
    assert second.pseudonyms.pseudonyms().uid("1.2.3") == made
    assert second.pseudonyms.find(OriginalKind.UID, ["2.25.1"])
    second.close()


def test_a_key_that_is_gone_is_never_replaced_silently(node_settings: Settings) -> None:
    first = opened(node_settings)
    first.pseudonyms.remember([uid(1)])
    first.close()
    node_settings.pseudonym_key_file.unlink()
    second = open_store(node_settings)
    with pytest.raises(KeyUnusable, match="restore it from the backup"):
        second.pseudonyms.pseudonyms()
    assert not node_settings.pseudonym_key_file.exists()
    second.close()


def test_another_key_opens_nothing_of_before(node_settings: Settings) -> None:
    first = opened(node_settings)
    first.pseudonyms.remember([uid(1)])
    first.close()
    key: Path = node_settings.pseudonym_key_file
    key.write_text("cd" * 32)
    second = open_store(node_settings)
    assert second.pseudonyms.find(OriginalKind.UID, ["2.25.1"]) == {}
    second.close()


def test_rows_that_were_exchanged_are_noticed(node: NodeStore) -> None:
    node.pseudonyms.remember([uid(1), uid(2)])
    with node.database.writing() as connection:
        sealed = connection.execute(
            select(pseudonyms.c.sealed).where(pseudonyms.c.pseudonym == "2.25.2")
        ).scalar_one()
        connection.execute(
            update(pseudonyms).where(pseudonyms.c.pseudonym == "2.25.1").values(sealed=sealed)
        )
    with pytest.raises(KeyUnusable, match=r"2\.25\.1 stands for was altered"):
        node.pseudonyms.find(OriginalKind.UID, ["2.25.1"])
