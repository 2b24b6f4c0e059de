"""The rules of one folder as a whole: read, checked, and asked about series."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pydantic

from gateway.errors import ConfigurationInvalid, Problem
from gateway.positions import (
    Location,
    PositionedDocument,
    decode,
    nearest,
    parse_yaml,
    problems,
    read_file,
)
from gateway.rules.conditions import CompiledCondition, GroupCondition, Reason, compile_condition
from gateway.rules.decision import Decision, PlannedAction, RuleOutcome
from gateway.rules.facts import Columns, SeriesFacts
from gateway.rules.model import PLANNED_KEYS, Action, Rule, Segment

SUFFIXES: Final = frozenset({".yaml", ".yml"})

Objections = Callable[[Action], Iterable[tuple[Location, str]]]
"""What speaks against an action: the key or item of it that is at fault, and a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledRule:
    """A rule with its place in the folder and its condition, ready to be asked."""

    rule: Rule
    path: Path
    line: int
    condition: CompiledCondition

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.rule.name

    def outcome(self, columns: Columns, *, ran_before: bool) -> RuleOutcome:
        """Whether the rule takes a series, and why.

        ``ran_before`` says that it took an earlier revision of the series.
        """
        if not self.rule.enabled:
            return self._left_out("the rule is not enabled")
        if ran_before and self.rule.on_late == "ignore":
            return self._left_out("on_late is ignore, and the rule ran before these instances came")
        explained = self.condition.explain(columns)
        is_plain_list = isinstance(self.condition, GroupCondition) and self.condition.needs_all
        reasons = explained.parts if is_plain_list else (explained,)
        return RuleOutcome(rule=self.name, matched=explained.holds, reasons=reasons)

    def _left_out(self, why: str) -> RuleOutcome:
        reason = Reason(text=why, holds=False)
        return RuleOutcome(rule=self.name, matched=False, reasons=(reason,))


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleSet:
    """All rules of a folder, in the order of file names and of documents in a file.

    ``digest`` is the SHA-256 of the files' names and contents, in hexadecimal.
    """

    rules: tuple[CompiledRule, ...]
    digest: str
    files: tuple[Path, ...]

    @property
    def enabled(self) -> tuple[CompiledRule, ...]:
        """The rules that take series."""
        return tuple(one for one in self.rules if one.rule.enabled)

    @property
    def keywords(self) -> frozenset[int]:
        """Tags that enabled rules look at; nothing else need be read from instances."""
        return frozenset(tag for one in self.enabled for tag in one.condition.tags_read)

    @property
    def models(self) -> frozenset[str]:
        """The models that enabled rules run."""
        return frozenset(
            action.model
            for one in self.rules
            if one.rule.enabled
            for action in one.rule.actions
            if isinstance(action, Segment)
        )

    def decide(self, facts: SeriesFacts, *, ran_before: Collection[str] = ()) -> Decision:
        """Ask every rule about a series, and list the actions of those that match.

        ``ran_before`` names the rules that ran for an earlier revision of the series; those
        that ignore late instances take no further one.
        """
        columns = Columns(facts=facts)
        outcomes = tuple(
            rule.outcome(columns, ran_before=rule.name in ran_before) for rule in self.rules
        )
        return Decision(
            digest=self.digest,
            outcomes=outcomes,
            actions=tuple(
                PlannedAction(rule=one.name, index=index, action=action)
                for one, outcome in zip(self.rules, outcomes, strict=True)
                if outcome.matched
                for index, action in enumerate(one.rule.actions)
            ),
        )


def rule_files(folder: Path) -> list[Path]:
    """Rule files of a folder by name: ``*.yaml`` and ``*.yml``, hidden ones left out.

    Raises:
        OSError: the folder is missing or cannot be read.
    """
    return sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        ),
        key=lambda path: path.name,
    )


def load_rules(
    folder: Path,
    *,
    nodes: Collection[str] | None = None,
    models: Collection[str] | None = None,
    objections: Objections = lambda _: (),
) -> RuleSet:
    """Read and check all rules of a folder.

    Actions of enabled rules may name only ``nodes`` and ``models``; None takes any name. What
    ``objections`` has against such an action is a problem, too.

    Raises:
        ConfigurationInvalid: the folder is missing or something in it is wrong; the error
            holds all problems of all files.
    """
    reader = _Reader(nodes=nodes, models=models, objections=objections)
    try:
        files = rule_files(folder)
    except OSError as error:
        message = f"the folder of rules cannot be read: {error.strerror}; create it"
        raise ConfigurationInvalid([Problem(folder, 0, 0, message)]) from error
    for path in files:
        reader.read(path)
    if reader.problems:
        raise ConfigurationInvalid(reader.problems)
    return RuleSet(rules=tuple(reader.rules), digest=reader.digest.hexdigest(), files=tuple(files))


class _Digest:
    """SHA-256 over names and contents, each preceded by its length."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, path: Path, content: bytes) -> None:
        for part in (path.name.encode(errors="surrogateescape"), content):
            self._hash.update(len(part).to_bytes(8, "big") + part)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


@dataclass(kw_only=True, slots=True)
class _Reader:
    """Collects rules and problems, file by file."""

    nodes: Collection[str] | None
    models: Collection[str] | None
    objections: Objections
    rules: list[CompiledRule] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    digest: _Digest = field(default_factory=_Digest)
    _places: dict[str, Problem] = field(default_factory=dict)

    def read(self, path: Path) -> None:
        """Take the rules of one file."""
        try:
            content = read_file(path)
            documents = parse_yaml(path, decode(path, content), as_written=True)
        except ConfigurationInvalid as error:
            self.problems += error.problems
            return
        self.digest.add(path, content)
        for document in documents:
            self._take(path, document)

    def _take(self, path: Path, document: PositionedDocument) -> None:
        try:
            rule = Rule.model_validate(document.data)
        except pydantic.ValidationError as error:
            self.problems += problems(path, document, error, model=Rule, planned=PLANNED_KEYS)
            return
        found: list[Problem] = []

        def report(location: Location, message: str) -> None:
            found.append(document.problem(path, location, message))

        condition = compile_condition(rule.when, ("when",), report)
        for location, message in [*self._duplicates(rule), *self._unfit_actions(rule)]:
            report(location, message)
        line, _ = document.position(("rule",))
        self._places.setdefault(rule.name, document.problem(path, ("rule",), rule.name))
        self.problems += sorted(found, key=lambda one: (one.line, one.column))
        self.rules.append(CompiledRule(rule=rule, path=path, line=line, condition=condition))

    def _duplicates(self, rule: Rule) -> Sequence[tuple[Location, str]]:
        first = self._places.get(rule.name)
        if first is None:
            return []
        place = f"{first.path}:{first.line}:{first.column}"
        return [(("rule",), f"there is a rule `{rule.name}` already, at {place}; rename one")]

    def _unfit_actions(self, rule: Rule) -> Iterator[tuple[Location, str]]:
        for number, action in enumerate(rule.actions if rule.enabled else ()):
            place = ("then", number, action.kind)
            if isinstance(action, Segment):
                yield from _unknown("model", (action.model,), self.models, (*place, "model"))
            yield from _unknown("node", action.nodes, self.nodes, (*place, action.nodes_key))
            for location, message in self.objections(action):
                yield (*place, *location), message


def _unknown(
    what: str, names: Sequence[str], known: Collection[str] | None, location: Location
) -> Iterator[tuple[Location, str]]:
    for number, name in enumerate(names):
        if known is not None and name not in known:
            offer = nearest(name, known) or f"; known: {', '.join(sorted(known)) or 'none'}"
            yield (*location, number), f"there is no {what} `{name}`{offer}"
