"""The rule language that hospital IT edits: parse, validate, match, explain."""

from gateway.rules.conditions import Reason
from gateway.rules.decision import Decision, PlannedAction, RuleOutcome
from gateway.rules.facts import SeriesFacts
from gateway.rules.model import Action, Forward, Rule, Segment
from gateway.rules.ruleset import CompiledRule, Objections, RuleSet, load_rules, rule_files
from gateway.rules.series_condition import SeriesCondition

__all__ = [
    "Action",
    "CompiledRule",
    "Decision",
    "Forward",
    "Objections",
    "PlannedAction",
    "Reason",
    "Rule",
    "RuleOutcome",
    "RuleSet",
    "Segment",
    "SeriesCondition",
    "SeriesFacts",
    "load_rules",
    "rule_files",
]
