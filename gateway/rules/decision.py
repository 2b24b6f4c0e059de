"""What the rules decided for one series, and why."""

from dataclasses import dataclass

from gateway.rules.conditions import Reason
from gateway.rules.model import Action


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleOutcome:
    """Whether one rule took the series, with the reason of each of its conditions."""

    rule: str
    matched: bool
    reasons: tuple[Reason, ...]

    def to_json(self) -> dict[str, object]:
        """The outcome as ``{rule, matched, reasons: [line]}``."""
        lines = [line for reason in self.reasons for line in reason.lines()]
        return {"rule": self.rule, "matched": self.matched, "reasons": lines}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedAction:
    """One action that a series gets: the ``index``-th of the rule's ``then``, from 0."""

    rule: str
    index: int
    action: Action


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Outcomes of all rules in their order, and the actions of those that matched.

    ``digest`` names the version of the rules that decided.
    """

    digest: str
    outcomes: tuple[RuleOutcome, ...]
    actions: tuple[PlannedAction, ...]

    def to_json(self) -> list[dict[str, object]]:
        """The decision as ``[{rule, matched, reasons: [line]}]``."""
        return [outcome.to_json() for outcome in self.outcomes]
