"""Storage commitment, from the request to the report on its own association."""

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_ECHO, N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import decode, encode

from gateway.dimse.commitment import CommitmentService
from gateway.dimse.commitment_information import (
    ALL_COMMITTED,
    FAILURES_EXIST,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
)
from gateway.dimse.service import Peer, PresentationContext, Primitive, Service
from gateway.dimse.user import Outgoing, SendResult
from gateway.errors import PeerUnavailable
from gateway.settings import NodeSettings, Settings
from gateway.store import NodeStore, SeriesState, open_store
from gateway.store.commitments import CommitmentIndex
from gateway.store.database import Database
from tests.unit.store.completing import pass_time
from tests.unit.store.samples import BIG_ENDIAN, CT, EXPLICIT, IMPLICIT, MR, SERIES, offer, origin

TRANSACTION = "2.25.1234"
Item = tuple[str, str]
"""SOP Class and Instance UID."""
ONE: Item = (CT, f"{SERIES}.1")
TWO: Item = (CT, f"{SERIES}.2")
MISSING: Item = (CT, "2.25.404")


@dataclass
class Association:
    """The requestor's end: it keeps what it is sent, and takes reports unless told otherwise."""

    transfer_syntax: str = IMPLICIT
    answer: int | None = 0x0000
    """The status of its responses to reports; None: it releases instead."""
    responses: list[Primitive] = field(default_factory=list)
    reports: list[Primitive] = field(default_factory=list)

    @property
    def peer(self) -> Peer:
        return Peer(calling_ae="CT1", called_ae="GATEWAY", host="10.0.0.5")

    @property
    def context(self) -> PresentationContext:
        return PresentationContext(
            id=1, abstract_syntax=PUSH_MODEL, transfer_syntax=self.transfer_syntax
        )

    def respond(self, response: Primitive) -> None:
        assert response.is_valid_response
        self.responses.append(response)

    def is_cancelled(self) -> bool:
        return False

    def request(self, request: Primitive, within_seconds: float = 1) -> Primitive:
        assert request.is_valid_request
        if self.answer is None:
            raise PeerUnavailable("the peer released the association")
        self.reports.append(request)
        response = N_EVENT_REPORT()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.Status = self.answer
        return response

    def store(self, instance: Outgoing, message_id: int) -> SendResult:
        raise PeerUnavailable("nobody asked for instances")

    @property
    def status(self) -> int:
        """The status of the one response."""
        (response,) = self.responses
        return int(response.Status)

    def report(self) -> tuple[int, Dataset]:
        """The one report: Event Type ID and Event Information."""
        (report,) = self.reports
        syntax = UID(self.transfer_syntax)
        information = decode(
            report.EventInformation, syntax.is_implicit_VR, syntax.is_little_endian
        )
        assert information.TransactionUID == TRANSACTION
        return report.EventTypeID, information


@pytest.fixture
def store(tmp_path: Path) -> Any:
    settings = Settings(node=NodeSettings(data_dir=tmp_path, reserve_gb=0))
    database = Database(settings.index_url)
    database.upgrade()
    database.close()
    opened = open_store(settings)
    for number in (1, 2):
        opened.intake.keep(offer(number), origin())
    yield opened
    opened.close()


@pytest.fixture
def service(store: NodeStore, tmp_path: Path) -> Service:
    settings = Settings(node=NodeSettings(ae_title="ARCHIVE", data_dir=tmp_path))
    return CommitmentService(store, settings)


def information_of(*items: Item) -> Dataset:
    information = Dataset()
    information.TransactionUID = TRANSACTION
    information.ReferencedSOPSequence = []
    for sop_class_uid, sop_instance_uid in items:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        information.ReferencedSOPSequence.append(item)
    return information


def request_of(information: Dataset, transfer_syntax: str = IMPLICIT) -> N_ACTION:
    syntax = UID(transfer_syntax)
    request = N_ACTION()
    request.MessageID = 7
    request.RequestedSOPClassUID = UID(PUSH_MODEL)
    request.RequestedSOPInstanceUID = UID(PUSH_MODEL_INSTANCE)
    request.ActionTypeID = 1
    encoded = encode(information, syntax.is_implicit_VR, syntax.is_little_endian)
    request.ActionInformation = BytesIO(encoded or b"")
    return request


def asked(service: Service, *items: Item, **settings: Any) -> Association:
    association = Association(**settings)
    request = request_of(information_of(*items), association.transfer_syntax)
    service.serve(association, request)
    return association


def uids(sequence: Any) -> list[Item]:
    return [(one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID) for one in sequence]


class TestReports:
    """What the requestor is told (PS3.4 table J.3-2)."""

    @pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
    def test_instances_that_are_here_are_committed_to(
        self, service: Service, transfer_syntax: str
    ) -> None:
        association = asked(service, ONE, TWO, transfer_syntax=transfer_syntax)

        assert association.status == 0x0000
        (response,) = association.responses
        assert response.MessageIDBeingRespondedTo == 7
        event, information = association.report()
        assert event == ALL_COMMITTED
        assert uids(information.ReferencedSOPSequence) == [ONE, TWO]
        assert information.RetrieveAETitle == "ARCHIVE"
        assert "FailedSOPSequence" not in information

    def test_each_failure_has_its_reason(self, store: NodeStore, service: Service) -> None:
        damaged = store.instances.current(TWO[1])
        assert damaged is not None
        path = store.objects.path(damaged.object_key)
        path.write_bytes(path.read_bytes()[:-1] + b"?")

        event, information = asked(service, ONE, TWO, MISSING, (MR, ONE[1])).report()

        assert event == FAILURES_EXIST
        assert uids(information.ReferencedSOPSequence) == [ONE]
        reasons = {
            (one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID): one.FailureReason
            for one in information.FailedSOPSequence
        }
        assert reasons == {TWO: 0x0110, MISSING: 0x0112, (MR, ONE[1]): 0x0119}

    def test_where_nothing_is_here_no_instance_is_named_as_committed(
        self, service: Service
    ) -> None:
        event, information = asked(service, MISSING).report()
        assert event == FAILURES_EXIST
        assert "ReferencedSOPSequence" not in information
        assert "RetrieveAETitle" not in information

    def test_an_instance_that_is_named_twice_is_reported_once(self, service: Service) -> None:
        _, information = asked(service, ONE, TWO, ONE).report()
        assert uids(information.ReferencedSOPSequence) == [ONE, TWO]

    def test_the_list_of_a_whole_series_completes_it(
        self, store: NodeStore, service: Service
    ) -> None:
        asked(service, ONE)
        assert store.series.get(SERIES).state is SeriesState.RECEIVING
        asked(service, ONE, TWO)
        assert store.series.get(SERIES).state is SeriesState.COMPLETE

    def test_another_list_under_the_transaction_uid_of_a_waiting_report_fails(
        self, service: Service
    ) -> None:
        asked(service, ONE, answer=None)
        event, information = asked(service, TWO).report()
        assert event == FAILURES_EXIST
        assert [one.FailureReason for one in information.FailedSOPSequence] == [0x0131]


class TestWaitingReports:
    """A report that its requestor did not take on this association."""

    @pytest.mark.parametrize("answer", [None, 0x0110, 0x0213])
    def test_is_due_on_another_one(
        self, store: NodeStore, service: Service, answer: int | None
    ) -> None:
        association = asked(service, ONE, answer=answer)
        assert association.status == 0x0000
        (commitment,) = CommitmentIndex(store.database).take_due(besides=(), limit=9)
        assert commitment.transaction_uid == TRANSACTION

    @pytest.mark.parametrize("answer", [0x0000, 0xB000])
    def test_one_that_was_taken_is_not(
        self, store: NodeStore, service: Service, answer: int
    ) -> None:
        asked(service, ONE, answer=answer)
        pass_time(store, 10_000)
        assert CommitmentIndex(store.database).take_due(besides=(), limit=9) == ()


class TestRefusals:
    """Requests that get a failure status (PS3.7 section 10.1.4.1.10)."""

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            (lambda request: setattr(request, "ActionTypeID", 2), 0x0123),
            (lambda request: setattr(request, "RequestedSOPInstanceUID", UID("1.2.3")), 0x0112),
            (lambda request: setattr(request, "RequestedSOPClassUID", UID("1.2.3")), 0x0118),
            (lambda request: setattr(request, "ActionInformation", None), 0x0115),
            (lambda request: setattr(request, "ActionInformation", BytesIO(b"rubbish")), 0x0115),
            (lambda request: setattr(request, "ActionInformation", BytesIO(b"\x08" * 99)), 0x0115),
        ],
    )
    def test_what_is_no_request_for_commitment(
        self, service: Service, change: Callable[[N_ACTION], None], status: int
    ) -> None:
        request = request_of(information_of(ONE))
        change(request)
        association = Association()
        service.serve(association, request)
        assert association.status == status
        assert association.reports == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda one: one.pop("TransactionUID"),
            lambda one: setattr(one, "TransactionUID", "not a uid"),
            lambda one: one.pop("ReferencedSOPSequence"),
            lambda one: one.ReferencedSOPSequence.clear(),
            lambda one: one.ReferencedSOPSequence[0].pop("ReferencedSOPInstanceUID"),
            lambda one: setattr(one.ReferencedSOPSequence[0], "ReferencedSOPClassUID", ""),
        ],
    )
    def test_information_with_a_gap(
        self, service: Service, change: Callable[[Dataset], Any]
    ) -> None:
        information = information_of(ONE)
        change(information)
        association = Association()
        service.serve(association, request_of(information))
        assert association.status == 0x0115
        assert "(0008,11" in association.responses[0].ErrorComment

    def test_another_operation(self, service: Service) -> None:
        request = C_ECHO()
        request.MessageID = 1
        request.AffectedSOPClassUID = UID(PUSH_MODEL)
        association = Association()
        service.serve(association, request)
        assert association.status == 0x0211

    def test_an_index_that_takes_nothing(self, store: NodeStore, service: Service) -> None:
        with store.database.writing() as connection:
            connection.exec_driver_sql("DROP TABLE commitments")
            connection.exec_driver_sql("CREATE VIEW commitments AS SELECT 1 AS id")
        assert asked(service, ONE).status == 0x0110
