"""Which series of a study are the inputs of a model that takes several."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Self

from pydicom.datadict import tag_for_keyword

from gateway.errors import ConfigurationInvalid, InputRefused, Problem
from gateway.inference import Choose, Model, SeriesInput
from gateway.positions import load_yaml
from gateway.rules import Reason, SeriesCondition, SeriesFacts

_DATES: Final = ("AcquisitionDate", "SeriesDate")
_TIMES: Final = ("AcquisitionTime", "SeriesTime")
_NUMBERS: Final = ("SeriesNumber",)
_TAGS: Final = {name: tag_for_keyword(name) or 0 for name in (*_DATES, *_TIMES, *_NUMBERS)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A series of the study, as rules see it; one that is still received may yet change."""

    series_instance_uid: str
    facts: SeriesFacts
    is_complete: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class InputChoice:
    """Series Instance UIDs by the names of inputs, and the names of those that are not there."""

    chosen: Mapping[str, str]
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class InputRules:
    """The inputs of a model's descriptor with their conditions, ready to be asked."""

    model_name: str
    inputs: tuple[tuple[SeriesInput, SeriesCondition], ...]

    @classmethod
    def of(cls, model: Model) -> Self:
        """Read the conditions; raises ConfigurationInvalid with every problem and its position."""
        path, wanted = model.descriptor_file, model.descriptor.inputs
        document = load_yaml(path)[0] if wanted else None
        found: list[Problem] = []
        conditions: list[SeriesCondition] = []
        for number, one in enumerate(wanted):
            assert document is not None  # noqa: S101 - there are inputs
            part = replace(document.below(("inputs", number, "when")), data=one.when)
            try:
                conditions.append(SeriesCondition.read(path, part))
            except ConfigurationInvalid as error:
                found.extend(error.problems)
        if found:
            raise ConfigurationInvalid(found)
        return cls(model_name=model.name, inputs=tuple(zip(wanted, conditions, strict=True)))

    @property
    def tags(self) -> frozenset[int]:
        """Tags that must be read from each instance of a candidate."""
        read = (tag for _, condition in self.inputs for tag in condition.keywords)
        return frozenset({*read, *_TAGS.values()})

    def choose(self, candidates: Sequence[Candidate], first: str | None = None) -> InputChoice:
        """Choose a series for each input; ``first`` must be the first one, where it is given.

        An input is missing while none of the series is it, or one that may be it is still
        received. Raises InputRefused where no choice can be right: ``first`` is another series,
        several are an input that takes none of several, or one series is two inputs.
        """
        chosen: dict[str, str] = {}
        missing: list[str] = []
        for number, (wanted, condition) in enumerate(self.inputs):
            if number == 0 and first is not None:
                [one] = [one for one in candidates if one.series_instance_uid == first]
                self._require(wanted, condition.explain(one.facts))
                chosen[wanted.name] = first
                continue
            meeting = [one for one in candidates if condition.explain(one.facts).holds]
            if meeting and all(one.is_complete for one in meeting):
                chosen[wanted.name] = self._one_of(meeting, wanted)
            else:
                missing.append(wanted.name)
        self._require_distinct(chosen)
        return InputChoice(chosen=chosen, missing=tuple(missing))

    def _require(self, wanted: SeriesInput, reason: Reason) -> None:
        if not reason.holds:
            raise InputRefused(
                f"the series is not {wanted.name}, the first input of model {self.model_name}, "
                f"which is what its rule must take: {'; '.join(_unmet(reason))}"
            )

    def _one_of(self, candidates: Sequence[Candidate], wanted: SeriesInput) -> str:
        uids = ", ".join(one.series_instance_uid for one in candidates)
        several = f"{len(candidates)} series of the study are {wanted.name} ({uids})"
        if len(candidates) == 1:
            return candidates[0].series_instance_uid
        if wanted.choose is Choose.ONLY:
            raise InputRefused(
                f"{several}; let its `when` in the descriptor of model {self.model_name} hold for "
                "one of them, or its `choose` say which"
            )
        rank = _RANKS[wanted.choose]
        highest = max(map(rank, candidates))
        best = [one for one in candidates if rank(one) == highest]
        if len(best) > 1:
            raise InputRefused(f"{several}, and none of them is the {wanted.choose}")
        return best[0].series_instance_uid

    def _require_distinct(self, chosen: Mapping[str, str]) -> None:
        names: dict[str, str] = {}
        for name, uid in chosen.items():
            if uid in names:
                raise InputRefused(
                    f"series {uid} is both {names[uid]} and {name} of model {self.model_name}; "
                    "let each `when` in its descriptor leave out the other"
                )
            names[uid] = name


def _unmet(reason: Reason) -> Iterator[str]:
    """Yield the tests of a condition that do not hold."""
    if not reason.parts:
        yield reason.text
    for part in reason.parts:
        if not part.holds:
            yield from _unmet(part)


def _size(candidate: Candidate) -> tuple[Any, ...]:
    return (len(candidate.facts.instances),)


def _acquired(candidate: Candidate) -> tuple[Any, ...]:
    """Return when the last instance was acquired, and the Series Number for equal times."""
    return max(
        (_first(one, _DATES), _first(one, _TIMES), _first(one, _NUMBERS).zfill(12))
        for one in candidate.facts.instances
    )


def _first(instance: Mapping[int, Sequence[Any]], keywords: Sequence[str]) -> str:
    values = (value for name in keywords for value in instance.get(_TAGS[name], ()))
    return next((str(value) for value in values if value != ""), "")


_RANKS: Final[Mapping[Choose, Callable[[Candidate], tuple[Any, ...]]]] = MappingProxyType(
    {Choose.LATEST: _acquired, Choose.LARGEST: _size}
)
