"""How long a series is waited for: the rules of completion, as arithmetic without an index.

Images in Acquisition (0020,1002) counts an acquisition, which may be a part of the series or span
several. So a number that is reached is believed after a moment of quiet, one that is exceeded
says nothing, and one that is not reached asks for some more patience. What a node counts of the
series itself is believed at once, and asks for much more.
"""

from dataclasses import dataclass

from gateway.store.collection import IMAGES_IN_ACQUISITION

_MOMENT_SECONDS = 1.0
_TRUSTED_SECONDS = 0.25
_SERIES_TO_TRUST = 5
_SHORT_OF_ACQUISITION_FACTOR = 3
_SHORT_FACTOR = 10
_SHORT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Receiving:
    """A series of which instances may still come."""

    series_instance_uid: str
    study_instance_uid: str
    calling_ae: str
    receiving_since: float
    last_activity_at: float
    expected_instances: int | None
    expected_by: str
    """Who says how many are expected: a node, or `IMAGES_IN_ACQUISITION`."""
    asked_at: float | None
    """When a node was last asked to count it."""
    is_open: bool
    """Whether an association that brought an instance of it is open."""
    was_broken: bool = False
    """Whether one of them ended without a release: its sender may come again."""

    def idle_seconds(self, now: float) -> float:
        """Return how long it has been quiet."""
        return max(0.0, now - self.last_activity_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Habit:
    """How a peer lately sent its series."""

    pause_seconds: float = 0.0
    """Longest pause after which it resumed one."""
    whole_series: int = 0
    """How many it brought over one association each; 0 where it resumed any."""

    @property
    def is_trusted(self) -> bool:
        """Whether the end of its association is taken for the end of the series."""
        return self.whole_series >= _SERIES_TO_TRUST


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """The times that a node waits for more of a series, in seconds."""

    quiet_seconds: float = 5
    """Least quiet time after the associations ended, but for a peer that is trusted."""
    longest_quiet_seconds: float = 60
    """Longest quiet time of a peer that resumes its series after pauses."""
    ceiling_seconds: float = 3600
    """Longest time in which a series may be receiving."""

    @property
    def shortest_pause_seconds(self) -> float:
        """Pauses up to this one are waited for anyway."""
        return min(self.quiet_seconds, _MOMENT_SECONDS) / 2

    def learned(self, pause_seconds: float) -> float:
        """Return the quiet time that a peer's longest recent pause asks for: twice as much."""
        return min(2 * pause_seconds, self.longest_quiet_seconds)

    def quiet(self, pause_seconds: float) -> float:
        """Return the quiet time of a series about which nothing else is known."""
        return max(self.quiet_seconds, self.learned(pause_seconds))

    def short(self, pause_seconds: float, expected_by: str) -> float:
        """Return the quiet time of a series that holds fewer instances than somebody counts."""
        if expected_by == IMAGES_IN_ACQUISITION:
            return max(_SHORT_OF_ACQUISITION_FACTOR * self.quiet_seconds, self.quiet(pause_seconds))
        return max(_SHORT_FACTOR * self.quiet_seconds, _SHORT_SECONDS, self.quiet(pause_seconds))

    def moment(self, pause_seconds: float) -> float:
        """Return the quiet time of a series that holds as many images as its acquisition."""
        return max(min(self.quiet_seconds, _MOMENT_SECONDS), self.learned(pause_seconds))

    def verdict(self, one: Receiving, *, now: float, held: int | None, habit: Habit) -> str | None:
        """Return why a series is complete, or nothing while it is not.

        ``held`` is the number of its instances that are here, None where nobody counted them;
        ``habit`` is its sender's.
        """
        return (
            self._by_count(one, now, held, habit.pause_seconds)
            or self._by_trust(one, now, held, habit)
            or self._by_quiet(one, now, held, habit.pause_seconds)
            or self._by_ceiling(one, now, held)
        )

    def _by_count(
        self, one: Receiving, now: float, held: int | None, pause_seconds: float
    ) -> str | None:
        expected = one.expected_instances
        if expected is None or held is None or held < expected:
            return None
        if held > expected:
            more = f"{held} instances are here, and {one.expected_by} counts {expected}"
            return None if one.expected_by == IMAGES_IN_ACQUISITION else more
        is_settled = one.idle_seconds(now) >= self.moment(pause_seconds)
        if one.expected_by == IMAGES_IN_ACQUISITION and not is_settled:
            return None
        return f"{held} of {expected} instances that {one.expected_by} counts"

    def _by_trust(self, one: Receiving, now: float, held: int | None, habit: Habit) -> str | None:
        may_go_on = one.is_open or one.was_broken or _missing(one, held)
        if may_go_on or not habit.is_trusted:
            return None
        if one.idle_seconds(now) < min(self.quiet_seconds, _TRUSTED_SECONDS):
            return None
        return (
            f"its association ended, and {one.calling_ae} sent its last {habit.whole_series} "
            "series over one association each"
        )

    def _by_quiet(
        self, one: Receiving, now: float, held: int | None, pause_seconds: float
    ) -> str | None:
        missing = _missing(one, held)
        quiet_seconds = (
            self.short(pause_seconds, one.expected_by) if missing else self.quiet(pause_seconds)
        )
        if one.is_open or one.idle_seconds(now) < quiet_seconds:
            return None
        is_learned = not missing and quiet_seconds > self.quiet_seconds
        why = f": {one.calling_ae} paused up to {round(pause_seconds, 1):g} s" if is_learned else ""
        return f"{missing}its associations ended, then {round(quiet_seconds, 1):g} s of quiet{why}"

    def _by_ceiling(self, one: Receiving, now: float, held: int | None) -> str | None:
        if now - one.receiving_since < self.ceiling_seconds:
            return None
        return f"{_missing(one, held)}receiving for {self.ceiling_seconds:g} s, the ceiling"


def _missing(one: Receiving, held: int | None) -> str:
    """Return the words for a count that is not reached, or nothing."""
    if one.expected_instances is None or held is None or held >= one.expected_instances:
        return ""
    return f"{held} of {one.expected_instances} instances that {one.expected_by} counts; "
