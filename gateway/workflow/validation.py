"""Whether settings, models and rules fit together: what ``gateway check`` and a start look at."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.dimse.tls import client_context, server_context
from gateway.errors import ConfigurationInvalid, KeyUnusable, NotFound, Problem
from gateway.inference import Model, bundle_digest, descriptor_files, forms_for, list_models
from gateway.positions import Location
from gateway.rules import Action, RuleSet, Segment, load_rules
from gateway.settings import DimseNode, HealthImagingNode, Node, Settings
from gateway.store.pseudonym_key import read_key
from gateway.workflow.inputs import InputRules
from gateway.workflow.segmenting import results_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """A valid configuration, and what it asks for that this version does not do."""

    models: tuple[Model, ...]
    rules: RuleSet
    notes: tuple[str, ...]

    def model(self, name: str) -> Model:
        """Return the model of a name; raises NotFound where there is none."""
        for model in self.models:
            if model.name == name:
                return model
        raise NotFound(f"there is no model {name!r}; `gateway models list` names all")

    @property
    def models_in_use(self) -> tuple[Model, ...]:
        """The models that an enabled rule runs."""
        actions = (action for one in self.rules.enabled for action in one.rule.actions)
        named = {action.model for action in actions if isinstance(action, Segment)}
        return tuple(model for model in self.models if model.name in named)


def validated(
    settings: Settings, digest_of: Callable[[Path], str] = bundle_digest
) -> Configuration:
    """Load models and rules, and hold them against the settings.

    Raises:
        ConfigurationInvalid: with every problem of every file.
    """
    problems: list[Problem] = []
    models: tuple[Model, ...] = ()
    try:
        models = list_models(settings.node.models_dir, digest_of)
    except ConfigurationInvalid as error:
        problems.extend(error.problems)
    problems.extend(_broken_inputs(models))
    fit = _Fit(
        nodes=settings.nodes,
        models={model.name: model for model in models},
        models_dir=settings.node.models_dir,
    )
    try:
        rules = load_rules(
            settings.node.rules_dir,
            nodes=settings.nodes,
            models=[path.stem for path in descriptor_files(settings.node.models_dir)],
            objections=fit.objections,
        )
    except ConfigurationInvalid as error:
        problems.extend(error.problems)
    problems.extend(_unreadable_certificates(settings))
    problems.extend(_unusable_key(settings))
    if problems:
        raise ConfigurationInvalid(problems)
    return Configuration(models=models, rules=rules, notes=tuple(_notes(settings)))


def _broken_inputs(models: Iterable[Model]) -> Iterator[Problem]:
    for model in models:
        try:
            InputRules.of(model)
        except ConfigurationInvalid as error:
            yield from error.problems


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """Whether what a rule does, the nodes that it names and its model fit together."""

    nodes: Mapping[str, Node]
    models: Mapping[str, Model]
    models_dir: Path

    def objections(self, action: Action) -> Iterator[tuple[Location, str]]:
        """Yield what keeps an action from reaching a node; unknown names are told elsewhere."""
        for number, name in enumerate(action.nodes):
            node = self.nodes.get(name)
            if node is None:
                continue
            why = self._is_not_sent_to(name, node) or self._takes_nothing(name, node, action)
            if why:
                yield (action.nodes_key, number), why

    def _is_not_sent_to(self, name: str, node: Node) -> str:
        if isinstance(node, DimseNode | HealthImagingNode):
            return ""
        return f"this version sends to no node of kind {node.kind}, and {name} is one"

    def _takes_nothing(self, name: str, node: Node, action: Action) -> str:
        model = self.models.get(action.model) if isinstance(action, Segment) else None
        settings = results_of(node)
        if model is None or settings.outputs is None:
            return ""
        if forms_for(model.descriptor.outputs, settings):
            return ""
        takes, made = ", ".join(settings.outputs), ", ".join(model.descriptor.outputs)
        return (
            f"node {name} takes {takes}, and model {model.name} makes {made}, so that nothing "
            f"would be sent; let nodes.{name}.results.outputs in the settings and `outputs` in "
            f"{self.models_dir / model.name}.yaml have one in common"
        )


def _unreadable_certificates(settings: Settings) -> Iterator[Problem]:
    try:
        if settings.dimse.tls is not None:
            server_context(settings.dimse.tls)
        for node in settings.nodes.values():
            if isinstance(node, DimseNode) and node.tls is not None:
                client_context(node.tls)
    except ConfigurationInvalid as error:
        yield from error.problems


def _unusable_key(settings: Settings) -> Iterator[Problem]:
    """A key may be missing: it is made when something is de-identified first."""
    try:
        read_key(settings.pseudonym_key_file)
    except KeyUnusable as error:
        yield Problem(settings.pseudonym_key_file, 0, 0, str(error))


def _notes(settings: Settings) -> Iterator[str]:
    for name in settings.sources:
        if name not in settings.pulled_sources:
            yield (
                f"sources.{name}: this version pulls from nodes of kind healthimaging only; "
                "nothing is fetched from it"
            )
    for name, node in settings.nodes.items():
        if isinstance(node, DimseNode) and node.storage_commitment:
            yield (
                f"nodes.{name}.storage_commitment: this version does not ask for commitment; "
                "delivery is confirmed by the status of each C-STORE"
            )
    if not settings.dimse.allow:
        yield "dimse.allow is empty: any peer may send to this node"
