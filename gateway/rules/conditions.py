"""Compiled conditions: the tests of a rule, whether a series meets them, and why.

``not`` turns round each test below it (De Morgan), and a turned test holds when no instance
passes it. A series in which some instances pass and others do not therefore meets neither the
test nor its opposite: one localizer among axial slices never makes a rule match by luck.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gateway.positions import Location
from gateway.rules.checks import Check, Report, Values, compile_checks, joined
from gateway.rules.facts import Columns
from gateway.rules.model import AttributeTest, Condition
from gateway.rules.subjects import Subject, subject

LONGEST_VALUE_SHOWN: Final = 64
_MOST_VALUES_SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a condition held or did not, in words; a group has its parts."""

    text: str
    holds: bool
    parts: tuple["Reason", ...] = ()

    def lines(self, depth: int = 0) -> Iterator[str]:
        """The reason and its parts as lines, parts indented by two spaces."""
        yield f"{'  ' * depth}{self.text}"
        for part in self.parts:
            yield from part.lines(depth + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributeCondition:
    """A test on one attribute or fact; all ``checks`` must pass in the same instance.

    ``share`` is the least part of the instances in which they must pass; 0 means in some.
    """

    subject: Subject
    checks: tuple[Check, ...]
    share: float = 1.0
    negated: bool = False

    def explain(self, columns: Columns) -> Reason:
        """Whether the series meets the condition, and which values speak against it."""
        column = columns[self.subject]
        total = sum(column.values())
        failing = {v: count for v, count in column.items() if self._passes(v) == self.negated}
        holds = self._holds(sum(failing.values()), total)
        seen = "holds" if holds else self._counted(failing, total)
        return Reason(text=f"{self._words()}: {seen}", holds=holds)

    def _passes(self, values: Values) -> bool:
        return all(check.passes(values) for check in self.checks)

    def _holds(self, failing: int, total: int) -> bool:
        passing = total - failing
        if total == 0:
            return False
        if not self.negated:
            return passing > 0 and passing / total >= self.share
        if self.share == 0:
            return failing == 0
        # The opposite of "in all" is "in none"; that of a share is "in less than that share".
        return failing == 0 if self.share == 1 else failing / total < self.share

    def _words(self) -> str:
        what = f"{self.subject.name} {' and '.join(check.words for check in self.checks)}"
        if self.share < 1:
            where = f"at least {self.share:.0%} of the" if self.share else "some"
            what = f"{what} in {where} instances"
        return f"not ({what})" if self.negated else what

    def _counted(self, failing: dict[Values, int], total: int) -> str:
        if total == 0:
            return "nothing is known of it"
        by_text: Counter[str] = Counter()
        for values, count in failing.items():
            by_text[self._shown(values)] += count
        shown = [
            text if self.subject.is_of_series else f"{text} in {_part(count, total)}"
            for text, count in by_text.most_common(_MOST_VALUES_SHOWN)
        ]
        others = len(by_text) - len(shown)
        return ", ".join(shown) + (f", {others} other values" if others > 0 else "")

    def _shown(self, values: Values) -> str:
        if not values:
            return "missing"
        if self.subject.identifying:
            return "the given value" if self.negated else "differs"
        text = "".join(one if one.isprintable() else "?" for one in joined(values))
        cut = len(text) > LONGEST_VALUE_SHOWN
        return f"{text[: LONGEST_VALUE_SHOWN - 3]}..." if cut else text

    @property
    def tags_read(self) -> frozenset[int]:
        """Tags that the condition needs of each instance."""
        return self.subject.tags_read


def _part(count: int, total: int) -> str:
    if count == total:
        return f"all {total} instances" if total > 1 else "the only instance"
    return f"{count} of {total} instances"


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupCondition:
    """Conditions of which all must hold, or one; ``label`` says it as the file does."""

    parts: tuple["CompiledCondition", ...]
    needs_all: bool
    label: str

    def explain(self, columns: Columns) -> Reason:
        """Whether the series meets the group, with the reason of each part."""
        parts = tuple(part.explain(columns) for part in self.parts)
        holds = (all if self.needs_all else any)(part.holds for part in parts)
        verdict = "holds" if holds else "does not hold"
        return Reason(text=f"{self.label}: {verdict}", holds=holds, parts=parts)

    @property
    def tags_read(self) -> frozenset[int]:
        """Tags that the conditions need of each instance."""
        return frozenset(tag for part in self.parts for tag in part.tags_read)


CompiledCondition = AttributeCondition | GroupCondition


def compile_condition(
    condition: Condition, location: Location, report: Report, *, negated: bool = False
) -> CompiledCondition:
    """A condition ready to be asked; what is wrong with it goes to ``report``.

    ``location`` is the condition's place in its document. Where something was reported, what
    comes back is incomplete and of no use.
    """
    parts: list[CompiledCondition] = []
    for name, test in condition.tests.items():
        part = _compile_test(name, test, (*location, name), report)
        parts += [] if part is None else [replace(part, negated=negated)]
    for key, members in (("all", condition.all_of), ("any", condition.any_of)):
        if members:
            compiled = tuple(
                compile_condition(one, (*location, key, n), report, negated=negated)
                for n, one in enumerate(members)
            )
            label = f"{'not ' if negated else ''}{key} of"
            parts.append(
                GroupCondition(parts=compiled, needs_all=(key == "all") != negated, label=label)
            )
    for one in condition.none_of:
        inner = compile_condition(one, (*location, "not"), report, negated=not negated)
        parts.append(inner)
    label = "not all of" if negated else "all of"
    group = GroupCondition(parts=tuple(parts), needs_all=not negated, label=label)
    return group.parts[0] if len(group.parts) == 1 else group


def _compile_test(
    name: str, test: AttributeTest, location: Location, report: Report
) -> AttributeCondition | None:
    try:
        looked_at = subject(name)
    except ValueError as error:
        report(location, str(error))
        return None
    checks = compile_checks(
        looked_at, test, lambda inner, words: report((*location, *inner), words)
    )
    if (test.some or test.share is not None) and looked_at.is_of_series:
        report(location, f"{name} is a fact of the whole series; some and share do not apply")
    share = 0.0 if test.some else test.share
    return AttributeCondition(
        subject=looked_at, checks=checks, share=1.0 if share is None else share
    )
