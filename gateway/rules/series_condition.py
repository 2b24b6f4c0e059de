"""A condition on a series that stands outside of any rule, such as a model's ``inputs``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pydantic

from gateway.errors import ConfigurationInvalid, Problem
from gateway.positions import Location, PositionedDocument, problems
from gateway.rules.conditions import CompiledCondition, Reason, compile_condition
from gateway.rules.facts import Columns, SeriesFacts
from gateway.rules.model import Condition


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesCondition:
    """What ``when`` of a rule says, ready to be asked about series."""

    condition: CompiledCondition

    @classmethod
    def read(cls, path: Path, document: PositionedDocument) -> Self:
        """Read a condition whose words are text, as they were written in the file ``path``.

        Raises ConfigurationInvalid with every problem and its position.
        """
        try:
            condition = Condition.model_validate(document.data)
        except pydantic.ValidationError as error:
            raise ConfigurationInvalid(problems(path, document, error, model=Condition)) from error
        found: list[Problem] = []

        def report(location: Location, message: str) -> None:
            found.append(document.problem(path, location, message))

        compiled = compile_condition(condition, (), report)
        if found:
            raise ConfigurationInvalid(found)
        return cls(condition=compiled)

    @property
    def keywords(self) -> frozenset[int]:
        """Tags that must be read from each instance."""
        return self.condition.tags_read

    def explain(self, facts: SeriesFacts) -> Reason:
        """Whether a series meets the condition, and why."""
        return self.condition.explain(Columns(facts=facts))
