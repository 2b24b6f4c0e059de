"""Completion in the index, on both databases."""

import pytest

from gateway.store import NodeStore, SeriesState
from gateway.store.completion import CompletionIndex
from gateway.store.patience import Patience
from tests.unit.store.completing import complete, pass_time
from tests.unit.store.samples import SERIES, offer, origin

OTHER = "2.25.99"


def receive(
    store: NodeStore, association: str | None = None, *, number: int = 1, series: str = SERIES
) -> None:
    store.intake.keep(offer(number, series=series), origin(association))


def opened(store: NodeStore, association: str, receiver: str = "receiver-0") -> None:
    store.associations.opened(association, receiver, origin(association), "10.0.0.5")


def because(store: NodeStore, series: str = SERIES) -> str:
    return store.series.get(series).completed_because


@pytest.fixture
def index(store: NodeStore) -> CompletionIndex:
    return CompletionIndex(store.database)


class TestQuiet:
    """Associations ended and quiet: only then."""

    def test_a_series_is_receiving_until_it_was_quiet_for_long_enough(
        self, store: NodeStore
    ) -> None:
        receive(store)
        assert complete(store, 3600) == 0
        pass_time(store, 3600)
        assert complete(store, 3600) == 1

    def test_a_quiet_series_without_associations_is_complete(self, store: NodeStore) -> None:
        receive(store)

        assert complete(store) == 1

        series = store.series.get(SERIES)
        assert (series.state, series.revision) == (SeriesState.COMPLETE, 1)
        assert series.completed_because == "its associations ended, then 0 s of quiet"
        assert series.completed_at is not None

    def test_an_open_association_holds_its_series_however_quiet_it_is(
        self, store: NodeStore
    ) -> None:
        opened(store, "a")
        receive(store, "a")
        pass_time(store, 1000)
        assert complete(store) == 0

        store.associations.closed("a", "released")
        assert complete(store) == 1

    def test_every_association_that_brought_an_instance_must_have_ended(
        self, store: NodeStore
    ) -> None:
        for number, name in enumerate(("a", "b")):
            opened(store, name)
            receive(store, name, number=number)
        store.associations.closed("a", "aborted")
        assert complete(store) == 0

        store.associations.closed("b", "released")
        assert complete(store) == 1

    def test_another_series_open_association_does_not_matter(self, store: NodeStore) -> None:
        opened(store, "a")
        opened(store, "b")
        receive(store, "a")
        receive(store, "b", series=OTHER)
        store.associations.closed("a", "released")

        assert complete(store) == 1

        assert store.series.get(OTHER).state is SeriesState.RECEIVING

    def test_the_quiet_time_begins_when_the_association_ends(self, store: NodeStore) -> None:
        opened(store, "a")
        receive(store, "a")
        pass_time(store, 60)
        store.associations.closed("a", "released")
        assert complete(store, 30) == 0
        pass_time(store, 30)
        assert complete(store, 30) == 1

    def test_a_killed_receivers_associations_are_closed_when_it_starts_again(
        self, store: NodeStore
    ) -> None:
        for name, receiver in (("a", "receiver-0"), ("b", "receiver-0"), ("c", "receiver-1")):
            opened(store, name, receiver)
        receive(store, "a")
        receive(store, "c", series=OTHER)

        assert store.associations.lost("receiver-0") == 2

        assert complete(store) == 1
        assert store.series.get(OTHER).state is SeriesState.RECEIVING
        assert store.associations.lost("receiver-0") == 0

    def test_a_duplicate_alone_still_waits_for_its_association(self, store: NodeStore) -> None:
        receive(store)
        opened(store, "a")
        receive(store, "a")
        assert complete(store) == 0

    def test_each_completion_is_a_revision(self, store: NodeStore) -> None:
        for number in (1, 2, 3):
            receive(store, number=number)
            assert complete(store) == 1
            assert complete(store) == 0
            assert store.series.get(SERIES).revision == number

    def test_an_instance_that_arrives_meanwhile_keeps_its_series_open(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        receive(store)
        seen = index.receiving()
        receive(store, number=2)
        assert index.complete(seen, Patience(quiet_seconds=0)) == 0
        assert store.series.get(SERIES).state is SeriesState.RECEIVING

    def test_an_empty_node_has_nothing_to_complete(self, index: CompletionIndex) -> None:
        assert index.receiving() == ()
        assert index.complete((), Patience()) == 0


class TestPauses:
    """A peer that lately resumed series after pauses is waited for."""

    @pytest.fixture
    def paused(self, store: NodeStore) -> NodeStore:
        """CT1 sent a series over two associations, 12 s apart."""
        for number, name in enumerate(("a", "b"), start=1):
            opened(store, name)
            receive(store, name, number=number, series=OTHER)
            store.associations.closed(name, "released")
            pass_time(store, 12)
        complete(store)
        receive(store)
        return store

    def look(self, store: NodeStore) -> int:
        index = CompletionIndex(store.database)
        return index.complete(index.receiving(), Patience(quiet_seconds=5))

    def test_its_next_series_is_waited_for_twice_the_pause(self, paused: NodeStore) -> None:
        pass_time(paused, 20)
        assert self.look(paused) == 0
        pass_time(paused, 5)
        assert self.look(paused) == 1
        assert ": CT1 paused up to 12" in because(paused)

    def test_a_week_later_it_is_forgotten(self, paused: NodeStore) -> None:
        pass_time(paused, 7 * 86_400)
        self.look(paused)
        assert because(paused) == "its associations ended, then 5 s of quiet"

    def test_another_peers_series_are_not(self, paused: NodeStore) -> None:
        series = "2.25.77"
        sender = origin()
        other = type(sender)(calling_ae="CT2", called_ae="GATEWAY", source="c-store")
        paused.intake.keep(offer(1, series=series), other)
        pass_time(paused, 6)
        self.look(paused)
        assert because(paused, series) == "its associations ended, then 5 s of quiet"

    def test_whoever_sends_the_series_again_much_later_made_no_pause(
        self, store: NodeStore
    ) -> None:
        for number, name in enumerate(("a", "b"), start=1):
            opened(store, name)
            receive(store, name, number=number)
            store.associations.closed(name, "released")
            pass_time(store, 120)
        self.look(store)
        assert because(store) == "its associations ended, then 5 s of quiet"


class TestCounts:
    """A node says how many instances the series has."""

    def test_the_last_of_them_completes_on_an_open_association(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        opened(store, "a")
        receive(store, "a", number=1)
        index.counted(SERIES, 2, "node pacs")
        pass_time(store, 1)
        assert complete(store) == 0

        receive(store, "a", number=2)
        pass_time(store, 1)
        assert complete(store) == 1
        assert because(store) == "2 of 2 instances that node pacs counts"

    def test_superseded_contents_do_not_count(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        receive(store)
        store.intake.keep(offer(1, SeriesDescription="corrected"), origin())
        index.counted(SERIES, 2, "node pacs")
        assert complete(store) == 0

    def test_a_series_that_stays_short_says_so(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        receive(store)
        index.counted(SERIES, 3, "node pacs")
        pass_time(store, 60)
        assert complete(store) == 1
        assert because(store) == (
            "1 of 3 instances that node pacs counts; its associations ended, then 60 s of quiet"
        )

    def test_no_answer_leaves_what_was_known(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        receive(store)
        index.counted(SERIES, 3, "node pacs")
        index.counted(SERIES, None, "node pacs")
        (one,) = index.receiving()
        assert (one.expected_instances, one.expected_by) == (3, "node pacs")
        assert one.asked_at is not None

    def test_what_was_expected_is_forgotten_with_the_completion(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        """Else every late instance would be the last one."""
        receive(store)
        index.counted(SERIES, 1, "node pacs")
        assert complete(store, 3600) == 1
        receive(store, number=2)
        assert complete(store, 3600) == 0
        (one,) = index.receiving()
        assert (one.expected_instances, one.asked_at) == (None, None)

    def test_a_count_that_comes_after_the_completion_changes_nothing(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        receive(store)
        complete(store)
        index.counted(SERIES, 7, "node pacs")
        assert because(store) == "its associations ended, then 0 s of quiet"

    def test_a_series_about_which_an_answer_is_under_way_is_left_alone(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        receive(store)
        receive(store, series=OTHER)
        patience = Patience(quiet_seconds=0)
        assert index.complete(index.receiving(), patience, waits={SERIES}) == 1
        assert store.series.get(SERIES).state is SeriesState.RECEIVING

    def test_images_in_acquisition_are_expected(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        for number in (1, 2):
            store.intake.keep(offer(number, ImagesInAcquisition="2"), origin())
        pass_time(store, 1)
        assert index.complete(index.receiving(), Patience(quiet_seconds=3600)) == 1
        assert because(store) == "2 of 2 instances that Images in Acquisition (0020,1002) counts"


class TestCeiling:
    """dimse.ceiling_seconds."""

    def test_a_series_of_an_open_association_is_complete_at_the_ceiling(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        opened(store, "a")
        receive(store, "a")
        pass_time(store, 100)
        receive(store, "a", number=2)
        assert index.complete(index.receiving(), Patience(ceiling_seconds=200)) == 0
        assert index.complete(index.receiving(), Patience(ceiling_seconds=100)) == 1
        assert because(store) == "receiving for 100 s, the ceiling"

    def test_what_opens_it_again_has_a_ceiling_of_its_own(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        opened(store, "a")
        receive(store, "a")
        pass_time(store, 100)
        assert index.complete(index.receiving(), Patience(ceiling_seconds=100)) == 1
        receive(store, "a", number=2)
        assert index.complete(index.receiving(), Patience(ceiling_seconds=100)) == 0


class TestKnown:
    """Whoever knows more says so."""

    def test_a_series_that_somebody_knows_to_be_complete_is_so_at_once(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        opened(store, "a")
        receive(store, "a")
        assert index.complete_now(SERIES, "the whole study came in one request")
        assert because(store) == "the whole study came in one request"
        assert not index.complete_now(SERIES, "again")
        assert store.series.get(SERIES).revision == 1

    def test_an_unknown_series_is_none_to_complete(self, index: CompletionIndex) -> None:
        assert not index.complete_now("1.2.3", "why")

    def test_a_list_of_all_its_instances_completes_a_series(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        for number in (1, 2):
            receive(store, number=number)
        receive(store, series=OTHER)
        listed = [f"{SERIES}.1", f"{SERIES}.2", f"{SERIES}.2", f"{OTHER}.1", "2.25.404"]
        assert set(index.complete_listed(listed, "listed")) == {SERIES, OTHER}
        assert because(store) == "listed"

    def test_a_list_of_a_part_leaves_the_series_open(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        for number in (1, 2):
            receive(store, number=number)
        assert index.complete_listed([f"{SERIES}.1"], "listed") == ()
        assert store.series.get(SERIES).state is SeriesState.RECEIVING

    def test_lists_longer_than_a_statement_takes_are_no_matter(
        self, store: NodeStore, index: CompletionIndex
    ) -> None:
        receive(store)
        listed = [f"2.25.5.{number}" for number in range(1200)]
        assert index.complete_listed([*listed, f"{SERIES}.1"], "listed") == (SERIES,)


class TestTrust:
    """A peer that always sends a series over one association is taken at its word."""

    def send(self, store: NodeStore, number: int, ended: str = "released") -> None:
        """Bring one more series over an association of its own."""
        opened(store, f"a{number}")
        receive(store, f"a{number}", series=f"2.25.{500 + number}")
        store.associations.closed(f"a{number}", ended)

    def look(self, store: NodeStore) -> int:
        """Look a second later, with a quiet time of an hour."""
        pass_time(store, 1)
        index = CompletionIndex(store.database)
        return index.complete(index.receiving(), Patience(quiet_seconds=3600))

    def test_after_five_whole_series_a_release_is_enough(self, store: NodeStore) -> None:
        for number in range(4):
            self.send(store, number)
        assert self.look(store) == 0

        self.send(store, 5)

        assert self.look(store) == 5
        assert because(store, "2.25.505").startswith("its association ended, and CT1 sent its last")

    def test_one_series_that_was_resumed_ends_the_trust(self, store: NodeStore) -> None:
        for number in range(6):
            self.send(store, number)
        opened(store, "again")
        receive(store, "again", number=2, series="2.25.500")
        store.associations.closed("again", "released")

        assert self.look(store) == 0

    def test_an_abort_is_no_end_of_a_series(self, store: NodeStore) -> None:
        for number in range(5):
            self.send(store, number)
        self.send(store, 9, ended="aborted")

        assert self.look(store) == 5
        assert store.series.get("2.25.509").state is SeriesState.RECEIVING
