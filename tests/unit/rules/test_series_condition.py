"""A condition outside of any rule: the same language, the same problems at their places."""

from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.positions import parse_yaml
from gateway.rules import SeriesCondition, SeriesFacts

PATH = Path("models/brats.yaml")
SERIES_DESCRIPTION = 0x0008103E


def read(text: str) -> SeriesCondition:
    """Read the condition of the second input of a text."""
    [document] = parse_yaml(PATH, text, as_written=True)
    return SeriesCondition.read(PATH, document.below(("inputs", 1, "when")))


def second(when: str) -> str:
    return f"name: brats\ninputs:\n  - when: {{Modality: MR}}\n  - name: t2\n    when: {when}\n"


def test_it_holds_as_a_rule_of_its_words_would() -> None:
    condition = read(second('{all: [SeriesDescription: {matches: "(?i)t2"}, instances: 02]}'))
    assert condition.keywords == {SERIES_DESCRIPTION}
    for description, instances, holds in (
        ("Ax T2", 2, True),
        ("Ax T1", 2, False),
        ("T2", 3, False),
    ):
        facts = SeriesFacts(instances=[{SERIES_DESCRIPTION: (description,)}] * instances)
        assert condition.explain(facts).holds is holds


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("{Modalty: MR}", "models/brats.yaml:5:12: `Modalty` is no DICOM keyword"),
        ('{all: [{SeriesDescription: {matches: "("}}]}', "models/brats.yaml:5:39: matches: "),
        ("{}", "models/brats.yaml:5:5: no condition is given"),
        ("", "models/brats.yaml:5:5: must be a group of keys, not nothing"),
        ("{Modality: {is: MR}}", "models/brats.yaml:5:23: unknown key `is`"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(when: str, problem: str) -> None:
    with pytest.raises(ConfigurationInvalid) as invalid:
        read(second(when))
    assert str(invalid.value).startswith(problem)
