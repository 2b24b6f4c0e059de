"""Whether settings, models and rules fit together: what ``gateway check`` and a start look at."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.dimse.tls import client_context, server_context
from gateway.errors import ConfigurationInvalid, Problem
from gateway.inference import Model, list_models
from gateway.rules import RuleSet, load_rules
from gateway.settings import DimseNode, Settings
from gateway.workflow.inputs import InputRules


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """A valid configuration, and what it asks for that this version does not do."""

    models: tuple[Model, ...]
    rules: RuleSet
    notes: tuple[str, ...]


def validated(settings: Settings) -> Configuration:
    """Load models and rules, and hold them against the settings.

    Raises:
        ConfigurationInvalid: with every problem of every file.
    """
    problems: list[Problem] = []
    models: tuple[Model, ...] = ()
    try:
        models = list_models(settings.node.models_dir)
    except ConfigurationInvalid as error:
        problems.extend(error.problems)
    problems.extend(_broken_inputs(models))
    names = [path.stem for path in settings.node.models_dir.glob("*.yaml")]
    try:
        rules = load_rules(settings.node.rules_dir, nodes=settings.nodes, models=names)
        problems.extend(_undeliverable(rules, settings))
    except ConfigurationInvalid as error:
        problems.extend(error.problems)
    problems.extend(_unreadable_certificates(settings))
    if problems:
        raise ConfigurationInvalid(problems)
    return Configuration(models=models, rules=rules, notes=tuple(_notes(settings)))


def _broken_inputs(models: Iterable[Model]) -> Iterator[Problem]:
    for model in models:
        try:
            InputRules.of(model)
        except ConfigurationInvalid as error:
            yield from error.problems


def _undeliverable(rules: RuleSet, settings: Settings) -> Iterator[Problem]:
    for rule in rules.rules:
        if not rule.rule.enabled:
            continue
        for name in dict.fromkeys(node for action in rule.rule.actions for node in action.nodes):
            node = settings.nodes[name]
            if not isinstance(node, DimseNode):
                message = f"rule {rule.name}: this version sends to nodes of kind dimse only, and "
                yield Problem(rule.path, rule.line, 1, f"{message}{name} is of kind {node.kind}")


def _unreadable_certificates(settings: Settings) -> Iterator[Problem]:
    try:
        if settings.dimse.tls is not None:
            server_context(settings.dimse.tls)
        for node in settings.nodes.values():
            if isinstance(node, DimseNode) and node.tls is not None:
                client_context(node.tls)
    except ConfigurationInvalid as error:
        yield from error.problems


def _notes(settings: Settings) -> Iterator[str]:
    for name in settings.sources:
        yield f"sources.{name}: this version does not pull; nothing is fetched from it"
    for name, node in settings.nodes.items():
        if isinstance(node, DimseNode) and node.storage_commitment:
            yield (
                f"nodes.{name}.storage_commitment: this version does not ask for commitment; "
                "delivery is confirmed by the status of each C-STORE"
            )
    if not settings.dimse.allow:
        yield "dimse.allow is empty: any peer may send to this node"
