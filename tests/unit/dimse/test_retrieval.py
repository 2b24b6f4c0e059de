"""The answers to C-MOVE and C-GET, and what the instances' receiver gets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE

from gateway.dimse.retrieval import GetService, MoveService
from gateway.errors import PeerUnavailable, ProtocolViolated
from gateway.settings import DicomwebNode, DimseNode, NodeSettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.database import Database
from tests.peers.processes import free_port
from tests.unit.dimse.memory import MemoryExchange, identifier
from tests.unit.dimse.peer import StoringPeer
from tests.unit.store.samples import CT, EXPLICIT, IMPLICIT, MR, offer, origin

PATIENT_MOVE, STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.1.2", "1.2.840.10008.5.1.4.1.2.2.2"
PATIENT_GET, STUDY_GET = "1.2.840.10008.5.1.4.1.2.1.3", "1.2.840.10008.5.1.4.1.2.2.3"
SUCCESS, CANCELLED, PENDING = 0x0000, 0xFE00, 0xFF00
STUDY = "2.25.1"
NUMBER = 12


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NodeStore]:
    """A store with a study of twelve CT instances, and one of another study."""
    settings = Settings(node=NodeSettings(data_dir=tmp_path / "data", reserve_gb=0))
    settings.node.data_dir.mkdir()
    database = Database(settings.index_url)
    database.upgrade()
    database.close()
    opened = open_store(settings)
    for number in range(1, NUMBER + 1):
        opened.intake.keep(offer(number), origin())
    opened.intake.keep(offer(1, series="2.25.9.1", StudyInstanceUID="2.25.9"), origin())
    yield opened
    opened.close()


def settings_with(node: DimseNode) -> Settings:
    web = DicomwebNode(kind="dicomweb", url="https://vna.example/dicom-web")
    return Settings(nodes={"vna": web, "pacs": node})


def move(
    store: NodeStore,
    node: DimseNode,
    asked: Dataset,
    exchange: MemoryExchange,
    destination: str = "PACS",
) -> MemoryExchange:
    service = MoveService(store, settings_with(node))
    assert exchange.abstract_syntax in service.sop_classes
    request = exchange.request_of(C_MOVE, asked)
    request.MoveDestination = destination
    service.serve(exchange, request)
    return exchange


def get(store: NodeStore, asked: Dataset, exchange: MemoryExchange) -> MemoryExchange:
    service = GetService(store)
    assert exchange.abstract_syntax in service.sop_classes
    service.serve(exchange, exchange.request_of(C_GET, asked))
    return exchange


def numbers(exchange: MemoryExchange) -> list[tuple[int | None, int, int, int]]:
    """Return remaining, completed, failed and warning sub-operations of each response."""
    return [
        (
            response.NumberOfRemainingSuboperations,
            response.NumberOfCompletedSuboperations,
            response.NumberOfFailedSuboperations,
            response.NumberOfWarningSuboperations,
        )
        for response in exchange.responses
    ]


def failed_uids(exchange: MemoryExchange) -> list[str]:
    (last,) = exchange.identifiers()
    value = last.FailedSOPInstanceUIDList
    return [value] if isinstance(value, str) else list(value)


def whole_study() -> Dataset:
    return identifier("STUDY", StudyInstanceUID=STUDY)


def test_a_study_is_moved_unchanged_and_progress_is_told(store: NodeStore) -> None:
    with StoringPeer() as peer:
        exchange = move(store, peer.node, whole_study(), MemoryExchange(STUDY_MOVE))
        assert peer.received == {
            f"2.25.2.{number}": offer(number).data_set for number in range(1, NUMBER + 1)
        }
        assert peer.associations == 1
    assert exchange.statuses() == [PENDING, PENDING, SUCCESS]
    assert numbers(exchange) == [(7, 5, 0, 0), (2, 10, 0, 0), (None, 12, 0, 0)]
    assert exchange.identifiers() == []


@pytest.mark.parametrize(
    ("root", "asked", "number"),
    [
        (PATIENT_MOVE, identifier("PATIENT", PatientID="PID-4711"), NUMBER + 1),
        (STUDY_MOVE, identifier("STUDY", StudyInstanceUID="2.25.1\\2.25.9"), NUMBER + 1),
        (
            STUDY_MOVE,
            identifier("SERIES", StudyInstanceUID="2.25.9", SeriesInstanceUID="2.25.9.1"),
            1,
        ),
        (
            STUDY_MOVE,
            identifier(
                "IMAGE",
                StudyInstanceUID=STUDY,
                SeriesInstanceUID="2.25.2",
                SOPInstanceUID="2.25.2.3\\2.25.2.4",
            ),
            2,
        ),
        (STUDY_MOVE, identifier("STUDY", StudyInstanceUID="2.25.77"), 0),
    ],
)
def test_every_level_is_moved(store: NodeStore, root: str, asked: Dataset, number: int) -> None:
    with StoringPeer() as peer:
        exchange = move(store, peer.node, asked, MemoryExchange(root))
        assert len(peer.received) == number
    assert numbers(exchange)[-1] == (None, number, 0, 0)
    assert exchange.statuses()[-1] == SUCCESS


@pytest.mark.parametrize("destination", ["NOBODY", "VNA", "pacs"])
def test_a_destination_that_is_not_configured_is_unknown(
    store: NodeStore, destination: str
) -> None:
    with StoringPeer() as peer:
        exchange = move(store, peer.node, whole_study(), MemoryExchange(STUDY_MOVE), destination)
        assert peer.associations == 0
    assert exchange.statuses() == [0xA801]
    assert "destination" in exchange.responses[0].ErrorComment


def test_what_the_destination_refuses_is_listed(store: NodeStore) -> None:
    refused = {"2.25.2.3", "2.25.2.12"}
    with StoringPeer(answer=lambda uid, _: 0xC001 if uid in refused else 0x0000) as peer:
        exchange = move(
            store, peer.node, whole_study(), MemoryExchange(STUDY_MOVE, transfer_syntax=EXPLICIT)
        )
    assert exchange.statuses()[-1] == 0xB000
    assert numbers(exchange)[-1] == (None, 10, 2, 0)
    assert set(failed_uids(exchange)) == refused


def test_warnings_of_the_destination_are_counted_apart(store: NodeStore) -> None:
    with StoringPeer(answer=lambda uid, _: 0xB000 if uid == "2.25.2.3" else 0x0000) as peer:
        exchange = move(store, peer.node, whole_study(), MemoryExchange(STUDY_MOVE))
    assert exchange.statuses()[-1] == SUCCESS
    assert numbers(exchange)[-1] == (None, 11, 0, 1)


def test_a_destination_that_takes_nothing_fails_the_move(store: NodeStore) -> None:
    with StoringPeer(contexts=[(MR, IMPLICIT)]) as peer:
        exchange = move(store, peer.node, whole_study(), MemoryExchange(STUDY_MOVE))
    assert exchange.statuses()[-1] == 0xA702
    assert numbers(exchange)[-1] == (None, 0, NUMBER, 0)
    assert "does not accept" in exchange.responses[-1].ErrorComment
    assert len(failed_uids(exchange)) == NUMBER


def test_a_destination_that_is_away_fails_the_move_with_the_reason(store: NodeStore) -> None:
    away = DimseNode(kind="dimse", ae_title="PACS", host="127.0.0.1", port=free_port())
    exchange = move(store, away, whole_study(), MemoryExchange(STUDY_MOVE))
    assert exchange.statuses() == [0xA702]
    assert "does not answer" in exchange.responses[0].ErrorComment
    assert len(failed_uids(exchange)) == NUMBER


def test_an_instance_whose_file_is_gone_has_failed(store: NodeStore) -> None:
    lost = store.instances.current("2.25.2.3")
    assert lost is not None
    store.objects.path(lost.object_key).unlink()
    with StoringPeer() as peer:
        exchange = move(store, peer.node, whole_study(), MemoryExchange(STUDY_MOVE))
    assert exchange.statuses()[-1] == 0xB000
    assert failed_uids(exchange) == ["2.25.2.3"]


def test_a_cancelled_move_ends_there_and_tells_how_far_it_came(store: NodeStore) -> None:
    with StoringPeer() as peer:
        exchange = MemoryExchange(STUDY_MOVE, cancel_after=1)
        move(store, peer.node, whole_study(), exchange)
        assert len(peer.received) == 6
    assert exchange.statuses() == [PENDING, CANCELLED]
    assert numbers(exchange)[-1] == (6, 6, 0, 0)


def test_a_move_ends_with_the_association_that_asked(store: NodeStore) -> None:
    with StoringPeer() as peer:
        with pytest.raises(PeerUnavailable, match="gone"):
            move(store, peer.node, whole_study(), MemoryExchange(STUDY_MOVE, end_after=0))
        assert len(peer.received) == 5


def test_a_study_is_got_on_the_association_that_asks(store: NodeStore) -> None:
    exchange = get(store, whole_study(), MemoryExchange(STUDY_GET, takes=[EXPLICIT]))

    assert exchange.statuses() == [PENDING, PENDING, SUCCESS]
    assert numbers(exchange)[-1] == (None, NUMBER, 0, 0)
    assert [one.sop_instance_uid for one, _ in exchange.stored] == [
        f"2.25.2.{number}" for number in range(1, NUMBER + 1)
    ]
    assert {one.sop_class_uid for one, _ in exchange.stored} == {CT}
    message_ids = [message_id for _, message_id in exchange.stored]
    assert len(set(message_ids)) == NUMBER
    assert 7 not in message_ids


def test_what_the_asker_has_no_context_for_is_listed(store: NodeStore) -> None:
    implicit = offer(1, series="2.25.8", transfer_syntax_uid=IMPLICIT)
    store.intake.keep(implicit, origin())
    some = get(store, whole_study(), MemoryExchange(STUDY_GET, takes=[EXPLICIT]))
    none = get(store, whole_study(), MemoryExchange(STUDY_GET, takes=[]))
    assert some.statuses()[-1] == 0xB000
    assert failed_uids(some) == ["2.25.8.1"]
    assert none.statuses()[-1] == 0xA702


def test_a_cancelled_get_ends_there(store: NodeStore) -> None:
    exchange = MemoryExchange(PATIENT_GET, takes=[EXPLICIT], cancel_after=2)
    get(store, identifier("PATIENT", PatientID="PID-4711"), exchange)
    assert exchange.statuses() == [CANCELLED]
    assert numbers(exchange) == [(NUMBER - 1, 2, 0, 0)]


def test_a_get_ends_with_its_association(store: NodeStore) -> None:
    with pytest.raises(PeerUnavailable, match="gone"):
        get(store, whole_study(), MemoryExchange(STUDY_GET, takes=[EXPLICIT], end_after=3))


@pytest.mark.parametrize(
    ("asked", "comment"),
    [
        (identifier("STUDY"), "StudyInstanceUID"),
        (identifier("STUDY", StudyInstanceUID="*"), "StudyInstanceUID"),
        (identifier("IMAGE", SOPInstanceUID="2.25.2.1"), "StudyInstanceUID"),
        (identifier("PATIENT", PatientID="1"), "PATIENT"),
    ],
)
def test_an_identifier_without_its_unique_keys_is_refused(
    store: NodeStore, asked: Dataset, comment: str
) -> None:
    exchange = get(store, asked, MemoryExchange(STUDY_GET, takes=[EXPLICIT]))
    assert exchange.statuses() == [0xA900]
    assert comment in exchange.responses[0].ErrorComment


def test_requests_of_another_kind_have_no_answer(store: NodeStore) -> None:
    exchange = MemoryExchange(STUDY_GET)
    node = DimseNode(kind="dimse", ae_title="PACS", host="127.0.0.1", port=104)
    request = exchange.request_of(C_FIND, whole_study())
    for service in (GetService(store), MoveService(store, settings_with(node))):
        with pytest.raises(ProtocolViolated):
            service.serve(exchange, request)
