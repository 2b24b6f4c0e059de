"""The rule language that hospital IT edits: parse, validate, match, explain, reload."""

from gateway.rules.book import RuleBook
from gateway.rules.conditions import Reason
from gateway.rules.decision import Decision, PlannedAction, RuleOutcome
from gateway.rules.facts import SeriesFacts
from gateway.rules.model import Action, Forward, Rule, Segment
from gateway.rules.ruleset import CompiledRule, RuleSet, load_rules
from gateway.rules.series_condition import SeriesCondition

__all__ = [
    "Action",
    "CompiledRule",
    "Decision",
    "Forward",
    "PlannedAction",
    "Reason",
    "Rule",
    "RuleBook",
    "RuleOutcome",
    "RuleSet",
    "Segment",
    "SeriesCondition",
    "SeriesFacts",
    "load_rules",
]
