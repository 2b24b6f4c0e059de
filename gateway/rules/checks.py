"""Checks: one comparison of a rule file each, compiled for the values of one attribute."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.positions import Location, nearest, quoted
from gateway.rules.model import AttributeTest
from gateway.rules.patterns import SEARCHED_CHARACTERS, compiled
from gateway.rules.subjects import Kind, Subject
from gateway.rules.values import Value, comparable, word_form

Values = tuple[Value, ...]
"""All values of an attribute in one instance; none where it is absent or empty."""
Report = Callable[[Location, str], None]
"""Takes a message for a place below a test."""

ORIENTATIONS: Final = ("axial", "sagittal", "coronal", "oblique")
_COMPARED: Final = frozenset({Kind.NUMBER})
_ORDERED_IN_TIME: Final = frozenset({Kind.DATE, Kind.TIME})
_SEARCHED: Final = frozenset(Kind) - {Kind.NUMBER, Kind.SEQUENCE}
_VALUED: Final = frozenset(Kind) - {Kind.SEQUENCE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One comparison: whether the values of one instance pass it, and its words."""

    words: str
    passes: Callable[[Values], bool]


def compile_checks(subject: Subject, test: AttributeTest, report: Report) -> tuple[Check, ...]:
    """The comparisons of a test, all of which must pass; what is wrong goes to ``report``."""
    compiler = _Compiler(subject=subject, report=report)
    checks = [
        compiler.equals(test.equals) if test.equals is not None else None,
        compiler.is_in(test.in_) if test.in_ else None,
        compiler.not_in(test.not_in) if test.not_in else None,
        compiler.matches(test.matches) if test.matches is not None else None,
        compiler.contains(test.contains) if test.contains else None,
        compiler.exists(test.exists) if test.exists is not None else None,
        compiler.ordered("at_least", (test.at_least, None), _COMPARED),
        compiler.ordered("at_most", (None, test.at_most), _COMPARED),
        compiler.ordered("between", test.between or (None, None), _COMPARED | _ORDERED_IN_TIME),
        compiler.strictly("after", test.after),
        compiler.strictly("before", test.before),
    ]
    return tuple(check for check in checks if check is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Compiler:
    subject: Subject
    report: Report

    def equals(self, word: str) -> Check | None:
        """The attribute has this value; several values are written with backslashes."""
        if not self._suits("equals", _VALUED):
            return None
        parts = word.split("\\") if self.subject.multi_valued else [word]
        wanted = tuple(self._form(("equals",), part) for part in parts)
        return Check(
            words=f"is {self._shown(word)}", passes=lambda values: self._forms(values) == wanted
        )

    def is_in(self, words: tuple[str, ...]) -> Check | None:
        """Each value is one of the list."""
        if not self._suits("in", _VALUED):
            return None
        wanted = self._all_forms("in", words)
        return Check(
            words=f"is one of {self._shown(*words)}",
            passes=lambda values: bool(values) and wanted.issuperset(self._forms(values)),
        )

    def not_in(self, words: tuple[str, ...]) -> Check | None:
        """No value is one of the list; an attribute without a value passes."""
        if not self._suits("not_in", _VALUED):
            return None
        unwanted = self._all_forms("not_in", words)
        return Check(
            words=f"is none of {self._shown(*words)}",
            passes=lambda values: unwanted.isdisjoint(self._forms(values)),
        )

    def matches(self, pattern: str) -> Check | None:
        """A regular expression is found in the value."""
        if not self._suits("matches", _SEARCHED):
            return None
        try:
            expression = compiled(pattern)
        except ValueError as error:
            self.report(("matches",), f"matches: {error}")
            return None
        return Check(
            words=f"matches {self._shown(pattern)}",
            passes=lambda values: (
                bool(values) and expression.search(joined(values)[:SEARCHED_CHARACTERS]) is not None
            ),
        )

    def contains(self, words: tuple[str, ...]) -> Check | None:
        """All these are among the values of a multi-valued attribute."""
        if not self.subject.multi_valued:
            hint = " to find a part of its text" if self.subject.kind is Kind.TEXT else ""
            message = f"{self.subject.name} has one value; use a plain value, or matches{hint}"
            self.report(("contains",), f"contains: {message}")
            return None
        wanted = self._all_forms("contains", words)
        return Check(
            words=f"contains {self._shown(*words)}",
            passes=lambda values: wanted.issubset(self._forms(values)),
        )

    def exists(self, wanted: bool) -> Check:
        """The attribute is there and has a value, or the opposite."""
        return Check(
            words="exists" if wanted else "does not exist",
            passes=lambda values: bool(values) == wanted,
        )

    def ordered(
        self, operator: str, bounds: tuple[str | None, ...], kinds: frozenset[Kind]
    ) -> Check | None:
        """Each value is within bounds that belong to the range."""
        if bounds == (None, None) or not self._suits(operator, kinds):
            return None
        low, high = (None if word is None else self._form((operator,), word) for word in bounds)
        if low is not None and high is not None and _less(high, low):
            self.report((operator,), f"{operator}: the first bound is above the second")
        shown = " and ".join(self._shown(word) for word in bounds if word is not None)
        return Check(
            words=f"{operator.replace('_', ' ')} {shown}",
            passes=lambda values: self._each(
                values,
                lambda value: (
                    not (low is not None and _less(value, low))
                    and not (high is not None and _less(high, value))
                ),
            ),
        )

    def strictly(self, operator: str, word: str | None) -> Check | None:
        """Each date or time is before, or after, a point that does not belong to the range."""
        if word is None or not self._suits(operator, _ORDERED_IN_TIME):
            return None
        point = self._form((operator,), word)
        is_before = operator == "before"
        return Check(
            words=f"is {operator} {self._shown(word)}",
            passes=lambda values: self._each(
                values, lambda value: _less(value, point) if is_before else _less(point, value)
            ),
        )

    def _suits(self, operator: str, kinds: frozenset[Kind]) -> bool:
        if self.subject.kind in kinds:
            return True
        takes = ", ".join(kind.value for kind in Kind if kind in kinds)
        hint = ""
        if self.subject.kind in _ORDERED_IN_TIME:
            hint = "; use before, after or between"
        elif self.subject.kind is Kind.SEQUENCE:
            hint = "; only exists can be asked of it"
        message = f"{operator}: this test is for {takes}, and {self.subject.name} holds "
        self.report((operator,), f"{message}{self.subject.kind.value}{hint}")
        return False

    def _form(self, location: Location, word: str) -> Value:
        try:
            form = word_form(self.subject.kind, word)
        except ValueError as error:
            self.report(location, f"{self.subject.name}: {error}")
            return ""
        if self.subject.name == "orientation" and word.lower() not in ORIENTATIONS:
            offer = nearest(word, ORIENTATIONS)
            choices = ", ".join(ORIENTATIONS)
            self.report(location, f"orientation: {quoted(word)} is none of {choices}{offer}")
        return form

    def _all_forms(self, operator: str, words: tuple[str, ...]) -> frozenset[Value]:
        return frozenset(self._form((operator, number), word) for number, word in enumerate(words))

    def _forms(self, values: Values) -> tuple[Value | None, ...]:
        """Comparable forms; None for a value that breaks the rules of its kind."""
        return tuple(_form_or_none(self.subject.kind, value) for value in values)

    def _each(self, values: Values, passes: Callable[[Value], bool]) -> bool:
        forms = self._forms(values)
        return bool(forms) and all(form is not None and passes(form) for form in forms)

    def _shown(self, *words: str) -> str:
        return "the given value" if self.subject.identifying else ", ".join(words)


def joined(values: Values) -> str:
    """The values as one text, with backslashes between them as in a data set."""
    return "\\".join(str(value).strip(" \0") for value in values)


def _form_or_none(kind: Kind, value: Value) -> Value | None:
    try:
        return comparable(kind, value)
    except ValueError:
        return None


def _less(one: Value, other: Value) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return str(one) < str(other)
    return one < other
