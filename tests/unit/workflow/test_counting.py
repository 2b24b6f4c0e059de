"""Sources are asked when their series come to rest, and nobody waits for them."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.settings import DimseNode, Node
from gateway.store import NodeStore
from gateway.store.completion import CompletionIndex
from gateway.store.patience import Receiving
from gateway.workflow.counting import SourceCounts, is_due
from tests.peers.archive import Archive
from tests.peers.processes import free_port, wait_until
from tests.peers.web_archive import WebArchive
from tests.unit.store.samples import SERIES, offer, origin

NOW = 1_000_000.0
RESTING = Receiving(
    series_instance_uid=SERIES,
    study_instance_uid="2.25.1",
    calling_ae="CT1",
    receiving_since=NOW - 100,
    last_activity_at=NOW,
    expected_instances=None,
    expected_by="",
    asked_at=None,
    is_open=False,
)
MakeCounts = Callable[..., SourceCounts]


@pytest.fixture
def index(store: NodeStore) -> CompletionIndex:
    return CompletionIndex(store.database)


@pytest.fixture
def make_counts(index: CompletionIndex) -> Iterator[MakeCounts]:
    with ExitStack() as open_ones:

        def make(**nodes: Node) -> SourceCounts:
            return open_ones.enter_context(closing(SourceCounts(index, nodes, "GATEWAY")))

        yield make


def answered(index: CompletionIndex, counts: SourceCounts) -> Receiving:
    """Wait until a series was asked about and no answer is under way."""

    def look() -> Receiving | None:
        (one,) = index.receiving()
        return one if one.asked_at is not None and not counts.ask([]) else None

    return wait_until(look, "an answer", 10, 0.02)


class TestWhen:
    """When a series is asked about."""

    def test_at_once_when_its_associations_have_ended(self) -> None:
        assert is_due(RESTING, NOW)

    def test_after_a_second_of_quiet_while_one_is_open(self) -> None:
        one = replace(RESTING, is_open=True)
        assert not is_due(one, NOW + 0.9)
        assert is_due(one, NOW + 1)

    def test_again_in_growing_pauses(self) -> None:
        asked_at, pauses = NOW, []
        for _ in range(7):
            seconds = next(
                n
                for n in range(1, 100)
                if is_due(replace(RESTING, asked_at=asked_at), asked_at + n)
            )
            pauses.append(seconds)
            asked_at += seconds
        assert pauses == [2, 2, 4, 8, 16, 32, 60]

    def test_again_when_more_has_come_to_rest(self) -> None:
        one = replace(RESTING, asked_at=NOW - 50)
        assert not is_due(one, NOW + 0.9)
        assert is_due(one, NOW + 1)


class TestAnswers:
    """What becomes of a question."""

    def test_an_archives_count_is_noted(
        self, store: NodeStore, index: CompletionIndex, make_counts: MakeCounts
    ) -> None:
        store.intake.keep(offer(1), origin())
        with Archive(counts={SERIES: 7}) as archive:
            counts = make_counts(pacs=archive.node("CT1"))
            assert counts.ask(index.receiving()) == {SERIES}
            one = answered(index, counts)
        assert (one.expected_instances, one.expected_by) == (7, "node pacs")

    def test_a_web_archives_count_is_noted(
        self, store: NodeStore, index: CompletionIndex, make_counts: MakeCounts
    ) -> None:
        store.intake.keep(offer(1), origin())
        body = b'[{"0020000E": {"Value": ["2.25.2"]}, "00201209": {"Value": [9]}}]'
        with WebArchive(body=body) as archive:
            counts = make_counts(vna=archive.node("CT1"))
            counts.ask(index.receiving())
            one = answered(index, counts)
        assert (one.expected_instances, one.expected_by) == (9, "node vna")

    def test_only_the_senders_that_the_settings_name_are_asked_about(
        self, store: NodeStore, index: CompletionIndex, make_counts: MakeCounts
    ) -> None:
        store.intake.keep(offer(1), origin())
        with Archive(counts={SERIES: 7}) as archive:
            assert make_counts(pacs=archive.node("MR1")).ask(index.receiving()) == frozenset()
            assert make_counts(pacs=archive.node()).ask(index.receiving()) == frozenset()
            assert make_counts().ask(index.receiving()) == frozenset()
        assert archive.asked == []

    def test_a_source_that_is_away_is_logged_once_and_left_alone(
        self, store: NodeStore, index: CompletionIndex, make_counts: MakeCounts
    ) -> None:
        store.intake.keep(offer(1), origin())
        away = DimseNode(
            kind="dimse", ae_title="A", host="127.0.0.1", port=free_port(), counts_for=("CT1",)
        )
        counts = make_counts(pacs=away)
        with capture_logs() as logs:
            counts.ask(index.receiving())
            wait_until(lambda: not counts.ask([]), "the question ended", 10, 0.02)
            assert counts.ask(index.receiving()) == frozenset()
        assert [one["event"] for one in logs] == ["source_does_not_count"]
        assert logs[0]["node"] == "pacs"

    def test_a_source_that_stalls_holds_up_no_other(
        self, store: NodeStore, index: CompletionIndex, make_counts: MakeCounts
    ) -> None:
        store.intake.keep(offer(1), origin())
        with socket.create_server(("127.0.0.1", 0)) as silent, Archive({SERIES: 7}) as archive:
            stalled = DimseNode(
                kind="dimse",
                ae_title="A",
                host="127.0.0.1",
                port=silent.getsockname()[1],
                counts_for=("MR1",),
            )
            counts = make_counts(stalled=stalled, pacs=archive.node("CT1"))
            waiting = replace(RESTING, series_instance_uid="2.25.77", calling_ae="MR1")
            assert counts.ask([waiting]) == {"2.25.77"}
            assert counts.ask(index.receiving()) == {"2.25.77", SERIES}
            wait_until(lambda: counts.ask([]) == {"2.25.77"}, "the other's answer", 5, 0.02)
        assert index.receiving()[0].expected_instances == 7
