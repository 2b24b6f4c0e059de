"""The answers to C-FIND, status by status and identifier by identifier."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom.dimse_primitives import C_FIND, C_MOVE
from structlog.testing import capture_logs

from gateway.dimse.query import QueryService
from gateway.errors import PeerUnavailable, ProtocolViolated
from gateway.settings import NodeSettings, Settings
from gateway.store import NodeStore, open_store
from gateway.store.database import Database
from tests.unit.dimse.memory import MemoryExchange, identifier
from tests.unit.store.samples import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    PATIENT,
    PATIENT_ID,
    offer,
    origin,
)

PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
SUCCESS, CANCELLED, PENDING, PENDING_WARNING = 0x0000, 0xFE00, 0xFF00, 0xFF01


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(node=NodeSettings(data_dir=tmp_path / "data", reserve_gb=0))


@pytest.fixture
def store(settings: Settings) -> Iterator[NodeStore]:
    """A store with three studies of one instance each."""
    settings.node.data_dir.mkdir()
    database = Database(settings.index_url)
    database.upgrade()
    database.close()
    opened = open_store(settings)
    for number in (1, 2, 3):
        one = offer(1, series=f"2.25.{number}.1", StudyInstanceUID=f"2.25.{number}")
        opened.intake.keep(one, origin())
    yield opened
    opened.close()


def ask(
    store: NodeStore,
    settings: Settings,
    asked: Dataset | None,
    exchange: MemoryExchange,
    most_matches: int = 100,
) -> MemoryExchange:
    service = QueryService(store, settings, most_matches=most_matches)
    assert exchange.abstract_syntax in service.sop_classes
    service.serve(exchange, exchange.request_of(C_FIND, asked))
    return exchange


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
def test_each_match_is_a_pending_response_in_the_context_s_encoding(
    store: NodeStore, settings: Settings, syntax: str
) -> None:
    asked = identifier(
        "STUDY",
        PatientName="muster*",
        PatientID="",
        StudyInstanceUID="2.25.2",
        ModalitiesInStudy="",
        NumberOfStudyRelatedInstances="",
        InstanceAvailability="",
        StudyDescription="",
    )
    exchange = ask(store, settings, asked, MemoryExchange(STUDY_ROOT, syntax))

    assert exchange.statuses() == [PENDING, SUCCESS]
    (found,) = exchange.identifiers()
    assert found.QueryRetrieveLevel == "STUDY"
    assert found.RetrieveAETitle == "GATEWAY"
    assert found.InstanceAvailability == "ONLINE"
    assert (found.PatientName, found.PatientID) == (PATIENT, PATIENT_ID)
    assert found.StudyInstanceUID == "2.25.2"
    assert found.ModalitiesInStudy == "CT"
    assert found.NumberOfStudyRelatedInstances == 1
    assert found.StudyDescription == ""
    assert "SpecificCharacterSet" not in found
    for response in exchange.responses:
        assert response.MessageIDBeingRespondedTo == 7
        assert response.AffectedSOPClassUID == STUDY_ROOT
    assert exchange.responses[-1].Identifier is None


def test_names_beyond_ascii_come_in_utf_8(store: NodeStore, settings: Settings) -> None:
    umlaut = offer(
        1,
        series="2.25.9.1",
        StudyInstanceUID="2.25.9",
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Jörg",
    )
    store.intake.keep(umlaut, origin())
    asked = identifier("STUDY", SpecificCharacterSet="ISO_IR 100", PatientName="MÜL*")

    (found,) = ask(store, settings, asked, MemoryExchange(STUDY_ROOT)).identifiers()

    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.PatientName == "Müller^Jörg"


def test_keys_that_are_not_supported_come_back_empty_and_with_a_warning(
    store: NodeStore, settings: Settings
) -> None:
    asked = identifier("STUDY", StudyInstanceUID="2.25.2", PatientWeight="80")
    exchange = ask(store, settings, asked, MemoryExchange(STUDY_ROOT))
    assert exchange.statuses() == [PENDING_WARNING, SUCCESS]
    (found,) = exchange.identifiers()
    assert found.PatientWeight is None


def test_nothing_found_is_success(store: NodeStore, settings: Settings) -> None:
    asked = identifier("PATIENT", PatientID="nobody")
    exchange = ask(store, settings, asked, MemoryExchange(PATIENT_ROOT))
    assert exchange.statuses() == [SUCCESS]


def test_patients_are_found_at_patient_root(store: NodeStore, settings: Settings) -> None:
    asked = identifier("PATIENT", PatientName="", NumberOfPatientRelatedStudies="")
    exchange = ask(store, settings, asked, MemoryExchange(PATIENT_ROOT))
    (found,) = exchange.identifiers()
    assert (found.PatientName, found.NumberOfPatientRelatedStudies) == (PATIENT, 3)


@pytest.mark.parametrize(
    ("root", "asked", "comment"),
    [
        (STUDY_ROOT, None, "QueryRetrieveLevel"),
        (STUDY_ROOT, identifier(None, PatientID="7"), "QueryRetrieveLevel"),
        (STUDY_ROOT, identifier("PATIENT", PatientID="7"), "PATIENT"),
        (STUDY_ROOT, identifier("SERIES"), "StudyInstanceUID"),
        (PATIENT_ROOT, identifier("STUDY"), "PatientID"),
        (STUDY_ROOT, identifier("STUDY", StudyDate="before Easter"), "StudyDate"),
    ],
)
def test_an_identifier_that_does_not_fit_is_refused_with_the_reason(
    store: NodeStore, settings: Settings, root: str, asked: Dataset | None, comment: str
) -> None:
    exchange = ask(store, settings, asked, MemoryExchange(root))
    assert exchange.statuses() == [0xA900]
    assert comment in exchange.responses[0].ErrorComment
    assert len(exchange.responses[0].ErrorComment) <= 64


def test_more_matches_than_the_limit_end_with_out_of_resources(
    store: NodeStore, settings: Settings
) -> None:
    every = identifier("STUDY", StudyInstanceUID="")
    whole = ask(store, settings, every, MemoryExchange(STUDY_ROOT), most_matches=3)
    cut = ask(store, settings, every, MemoryExchange(STUDY_ROOT), most_matches=2)
    assert whole.statuses() == [PENDING] * 3 + [SUCCESS]
    assert cut.statuses() == [PENDING] * 2 + [0xA700]
    assert "ask for less" in cut.responses[-1].ErrorComment


def test_a_cancelled_query_ends_there(store: NodeStore, settings: Settings) -> None:
    exchange = MemoryExchange(STUDY_ROOT, cancel_after=1)
    ask(store, settings, identifier("STUDY", StudyInstanceUID=""), exchange)
    assert exchange.statuses() == [PENDING, CANCELLED]


def test_the_end_of_the_association_is_the_association_s(
    store: NodeStore, settings: Settings
) -> None:
    with pytest.raises(PeerUnavailable):
        ask(
            store,
            settings,
            identifier("STUDY", StudyInstanceUID=""),
            MemoryExchange(STUDY_ROOT, end_after=1),
        )


def test_a_request_of_another_kind_has_no_answer(store: NodeStore, settings: Settings) -> None:
    exchange = MemoryExchange(STUDY_ROOT)
    with pytest.raises(ProtocolViolated, match="C-FIND"):
        QueryService(store, settings).serve(exchange, exchange.request_of(C_MOVE, None))


def test_an_index_that_is_gone_is_a_passing_failure(store: NodeStore, settings: Settings) -> None:
    with store.database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE studies")
    exchange = ask(store, settings, identifier("STUDY"), MemoryExchange(STUDY_ROOT))
    assert exchange.statuses() == [0xA700]


def test_no_word_of_a_patient_reaches_the_log(store: NodeStore, settings: Settings) -> None:
    with capture_logs() as logged:
        for keys in ({"PatientID": PATIENT_ID}, {"PatientBirthDate": "19700101 Erika"}):
            ask(store, settings, identifier("STUDY", **keys), MemoryExchange(STUDY_ROOT))
    assert len(logged) == 1
    assert PATIENT_ID not in str(logged)
    assert "1970" not in str(logged)
