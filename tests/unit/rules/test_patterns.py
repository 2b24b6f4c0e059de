"""Regular expressions of rules search, and cannot run away."""

import time

import pytest

from gateway.rules.patterns import SEARCHED_CHARACTERS, compiled


@pytest.mark.parametrize(
    "pattern",
    [
        "(?i)portal|venous",
        "^Thorax .* (1|2|3)(\\.\\d)?\\s*mm",
        "(foo, ?){2}",
        "(abc)+",
        "portal.*venous.*axial",
        "[()|+*]+",
        r"\(a\)\+",
        r"\(?x\)?",
        "(?P<kernel>[BD]\\d\\d)[fs]?",
        "a{2,5}b{3}",
        "(?!SCOUT)(?:axial|ax|tra)",
    ],
)
def test_an_expression_that_people_write_is_taken(pattern: str) -> None:
    assert compiled(pattern).pattern == pattern


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(portal", "no regular expression"),
        ("*a", "no regular expression"),
        ("[[a]", "no regular expression"),
        ("a{99999999999999999999}", "no regular expression"),
        ("(a+)+$", "too long"),
        ("(a*)*b", "too long"),
        ("(a|aa)+$", "too long"),
        ("(a|b|ab)*c", "too long"),
        ("(?:a?){30}b", "too long"),
        ("((ab?)+c?)+d", "too long"),
        (".*.*.*.*x", "too long"),
        ("(?:x+x+)+y", "too long"),
        ("(?x)(a+ # )\n)+", "flag x"),
        ("((?(1)a+|b)c)+", "too long"),
        ("a?" * 40 + "b", "too long"),
        ("x" * 301, "longer than"),
    ],
)
def test_an_expression_that_is_wrong_or_may_run_away_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compiled(pattern)


@pytest.mark.parametrize(
    "pattern",
    [".*.*.*x", "a*a*a*b", "(?:a|b)?a+a+b", "([ab])*x", "a?" * 13 + "b", "a{0,1}" * 13 + "b"],
)
def test_the_worst_that_is_taken_ends_in_time(pattern: str) -> None:
    expression = compiled(pattern)
    started = time.process_time()
    expression.search("a" * SEARCHED_CHARACTERS)
    assert time.process_time() - started < 1
