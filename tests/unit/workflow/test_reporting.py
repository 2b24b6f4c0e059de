"""Storage commitment reports that wait: brought to their requestors until they are there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from structlog.testing import capture_logs

from gateway.settings import DimseNode, Node
from gateway.store import NodeStore, SeriesState
from gateway.store.commitments import Commitment, CommitmentIndex
from gateway.store.verification import Reference
from gateway.workflow.backoff import Backoff
from gateway.workflow.reporting import CommitmentReporter
from tests.peers.modality import Modality
from tests.peers.processes import free_port, wait_until
from tests.unit.store.completing import pass_time
from tests.unit.store.samples import CT, SERIES, offer, origin

PATIENCE = Backoff(first_seconds=30, longest_seconds=600, give_up_seconds=86_400)
MakeReporter = Callable[..., CommitmentReporter]


@pytest.fixture
def index(store: NodeStore) -> CommitmentIndex:
    store.intake.keep(offer(1), origin())
    return CommitmentIndex(store.database)


@pytest.fixture
def make_reporter(store: NodeStore) -> Iterator[MakeReporter]:
    with ExitStack() as open_ones:

        def make(**nodes: Node) -> CommitmentReporter:
            reporter = CommitmentReporter(store, nodes, PATIENCE)
            return open_ones.enter_context(closing(reporter))

        yield make


def waiting(index: CommitmentIndex, calling_ae: str = "CT1", uid: str = "2.25.1") -> Commitment:
    """Enter a request whose requestor did not wait for the report."""
    commitment = index.enter(
        transaction_uid=uid,
        calling_ae=calling_ae,
        called_ae="GATEWAY",
        host="127.0.0.1",
        requested=[Reference(sop_class_uid=CT, sop_instance_uid=f"{SERIES}.1")],
    )
    assert commitment is not None
    index.postponed(commitment, 0, "released")
    return commitment


def looked(reporter: CommitmentReporter) -> None:
    """Look once, and wait until nothing is under way."""
    reporter.look()
    reporter.close()


def away(ae_title: str = "CT1") -> DimseNode:
    return DimseNode(kind="dimse", ae_title=ae_title, host="127.0.0.1", port=free_port())


def due(index: CommitmentIndex) -> tuple[Commitment, ...]:
    return index.take_due(besides=(), limit=10)


def test_a_report_reaches_the_node_of_its_requestor_once(
    store: NodeStore, index: CommitmentIndex, make_reporter: MakeReporter
) -> None:
    waiting(index)
    with Modality() as modality:
        looked(make_reporter(other=away("CT2"), ct=modality.node))
        pass_time(store, 10_000)
        looked(make_reporter(ct=modality.node))
    ((event_type, information),) = modality.reports
    assert event_type == 1
    assert information.TransactionUID == "2.25.1"
    assert modality.called_by == ["GATEWAY"]


def test_the_list_completes_its_series_here_too(
    store: NodeStore, index: CommitmentIndex, make_reporter: MakeReporter
) -> None:
    """The receiver may have been killed before it came to that."""
    waiting(index)
    looked(make_reporter(ct=away()))
    assert store.series.get(SERIES).state is SeriesState.COMPLETE


def test_a_requestor_that_is_away_gets_its_report_when_it_is_back(
    store: NodeStore, index: CommitmentIndex, make_reporter: MakeReporter
) -> None:
    waiting(index)
    looked(make_reporter(ct=away()))
    assert due(index) == ()
    pass_time(store, 200)
    with Modality() as modality:
        looked(make_reporter(ct=modality.node))
    assert len(modality.reports) == 1


def test_a_requestor_without_a_node_is_told_to_the_administrator(
    store: NodeStore, index: CommitmentIndex, make_reporter: MakeReporter
) -> None:
    waiting(index)
    with capture_logs() as logs:
        looked(make_reporter())
    (line,) = (one for one in logs if one["event"] == "commitment_report_waits")
    assert "no node of the settings has the AE title CT1; add one" in line["reason"]


def test_a_report_that_nobody_takes_is_given_up(
    store: NodeStore, index: CommitmentIndex, make_reporter: MakeReporter
) -> None:
    waiting(index)
    pass_time(store, 86_400)
    with capture_logs() as logs:
        looked(make_reporter(ct=away()))
    assert "commitment_report_given_up" in [one["event"] for one in logs]
    pass_time(store, 86_400)
    assert due(index) == ()


def test_a_requestor_that_is_away_holds_up_no_other(
    store: NodeStore, index: CommitmentIndex, make_reporter: MakeReporter
) -> None:
    for number in range(6):
        waiting(index, "CT1", f"2.25.{number}")
    waiting(index, "CT2", "2.25.77")
    with Modality(ae_title="CT2") as modality:
        reporter = make_reporter(gone=away(), ct=modality.node)
        reporter.look()
        wait_until(lambda: modality.reports, "the other's report", 10, 0.05)
        assert modality.reports[0][1].TransactionUID == "2.25.77"
