"""Requests for storage commitment: entered durably, reported on once, and again after a crash."""

import pytest

from gateway.store import NodeStore, SeriesState
from gateway.store.commitments import Commitment, CommitmentIndex, Commitments
from gateway.store.completion import CompletionIndex
from gateway.store.verification import FailureReason, Reference, Verifier
from tests.unit.store.completing import pass_time
from tests.unit.store.conftest import OpenStore
from tests.unit.store.samples import CT, SERIES, offer, origin

TRANSACTION = "2.25.1234"


def references(*numbers: int, series: str = SERIES) -> list[Reference]:
    return [
        Reference(sop_class_uid=CT, sop_instance_uid=f"{series}.{number}") for number in numbers
    ]


def enter(
    index: CommitmentIndex,
    *numbers: int,
    transaction_uid: str = TRANSACTION,
    calling_ae: str = "CT1",
) -> Commitment | None:
    return index.enter(
        transaction_uid=transaction_uid,
        calling_ae=calling_ae,
        called_ae="GATEWAY",
        host="10.0.0.5",
        requested=references(*numbers),
    )


def entered(index: CommitmentIndex, *numbers: int, calling_ae: str = "CT1") -> Commitment:
    commitment = enter(index, *numbers, calling_ae=calling_ae)
    assert commitment is not None
    return commitment


def taken(index: CommitmentIndex, *besides: str, limit: int = 10) -> list[str]:
    return [one.calling_ae for one in index.take_due(besides=besides, limit=limit)]


@pytest.fixture
def index(store: NodeStore) -> CommitmentIndex:
    return CommitmentIndex(store.database)


class TestRequests:
    """What is entered, and when a Transaction UID is in use (PS3.3 section C.14.1.1)."""

    def test_every_instance_is_entered_once(self, index: CommitmentIndex) -> None:
        assert entered(index, 2, 1, 2).requested == tuple(references(1, 2))

    def test_the_same_request_again_is_the_same(self, index: CommitmentIndex) -> None:
        """Its response may have been lost."""
        assert entered(index, 1, 2).id == entered(index, 2, 1).id

    def test_another_list_under_a_transaction_uid_without_report_is_refused(
        self, index: CommitmentIndex
    ) -> None:
        entered(index, 1)
        assert enter(index, 2) is None

    def test_after_the_report_the_transaction_uid_is_free(self, index: CommitmentIndex) -> None:
        index.reported(entered(index, 1))
        assert entered(index, 2).requested == tuple(references(2))

    def test_peers_do_not_share_transaction_uids(self, index: CommitmentIndex) -> None:
        assert entered(index, 1).id != entered(index, 2, calling_ae="CT2").id


class TestReports:
    """Whose turn it is."""

    def test_what_the_receiver_reports_on_is_nobody_elses_until_it_may_be_dead(
        self, store: NodeStore, open_again: OpenStore, index: CommitmentIndex
    ) -> None:
        entered(index, 1)
        assert taken(index) == []
        pass_time(store, 120)
        restarted = CommitmentIndex(open_again().database)
        assert taken(restarted) == ["CT1"]
        assert taken(index) == []

    def test_what_was_reported_is_not_due_again(
        self, store: NodeStore, index: CommitmentIndex
    ) -> None:
        index.reported(entered(index, 1))
        pass_time(store, 10_000)
        assert taken(index) == []

    def test_what_was_postponed_is_due_after_its_pause(
        self, store: NodeStore, index: CommitmentIndex
    ) -> None:
        index.postponed(entered(index, 1), 30, "no answer")
        assert taken(index) == []
        pass_time(store, 30)
        (commitment,) = index.take_due(besides=(), limit=10)
        assert (commitment.attempts, commitment.requested) == (2, tuple(references(1)))

    def test_what_was_given_up_is_not_due_again(
        self, store: NodeStore, index: CommitmentIndex
    ) -> None:
        index.given_up(entered(index, 1), "for ever")
        pass_time(store, 10_000)
        assert taken(index) == []

    def test_each_requestor_has_one_report_at_a_time(self, index: CommitmentIndex) -> None:
        for number, calling_ae in enumerate(("CT1", "CT1", "CT2", "CT3")):
            commitment = enter(index, 1, transaction_uid=f"1.{number}", calling_ae=calling_ae)
            assert commitment is not None
            index.postponed(commitment, number / 1000 - 1, "")
        assert taken(index, "CT3", limit=10) == ["CT1", "CT2"]
        assert taken(index, limit=1) == ["CT1"]
        assert taken(index, limit=10) == ["CT3"]


class TestResults:
    """Answered from what is on disk; a whole list completes its series."""

    @pytest.fixture
    def commitments(self, store: NodeStore) -> Commitments:
        for number in (1, 2):
            store.intake.keep(offer(number), origin())
        return Commitments(
            Verifier(store.instances, store.objects), CompletionIndex(store.database)
        )

    def test_what_is_here_is_committed_to_and_completes_its_series(
        self, store: NodeStore, index: CommitmentIndex, commitments: Commitments
    ) -> None:
        result = commitments.result(entered(index, 1, 2))
        assert (result.committed, result.failed) == (tuple(references(1, 2)), ())
        series = store.series.get(SERIES)
        assert series.state is SeriesState.COMPLETE
        assert series.completed_because == (
            "CT1 requested storage commitment of 2 instances, all of this series among them"
        )

    def test_what_is_missing_fails_alone_and_leaves_the_series_open(
        self, store: NodeStore, index: CommitmentIndex, commitments: Commitments
    ) -> None:
        result = commitments.result(entered(index, 1, 2, 3))
        assert result.committed == tuple(references(1, 2))
        assert result.failed == ((references(3)[0], FailureReason.NO_SUCH_OBJECT_INSTANCE),)
        assert store.series.get(SERIES).state is SeriesState.RECEIVING

    def test_a_part_of_a_series_is_committed_to_and_leaves_it_open(
        self, store: NodeStore, index: CommitmentIndex, commitments: Commitments
    ) -> None:
        assert commitments.result(entered(index, 1)).failed == ()
        assert store.series.get(SERIES).state is SeriesState.RECEIVING
