"""Regular expressions of rule files: compiled once, and bounded in how long they may search.

Python's matcher goes back and tries again, and no time limit can stop it, so that an expression
such as ``(a+)+$`` could hold up routing for hours. The bound is therefore set beforehand: an
estimate of how many ways there are to go through the expression on the longest text it is
given. Expressions above the bound are refused when the file is read.
"""

import re
import warnings
from dataclasses import dataclass
from typing import Final

SEARCHED_CHARACTERS: Final = 128
"""Only the beginning of a value is searched; text attributes that rules match hold 64."""
LONGEST_PATTERN: Final = 300
_MOST_WAYS: Final = 2_500_000  # three unbounded repetitions: 0.2 s at worst

_TOKEN: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[aiLmsux-]+\)|\((?:\?(?:P?<[A-Za-z_]\w*>|P=\w+|#[^)]*"
    r"|[aiLmsux-]*:|<?[=!]|>|\([^)]*\)))?|\)|\||[*+?][+?]?|\{\d*(?:,\d*)?\}[+?]?|.",
    re.DOTALL,
)
_VERBOSE: Final = re.compile(r"\(\?[a-zA-Z]*x")
_COUNTS: Final = re.compile(r"\{(\d*)(,?)(\d*)\}[+?]?")


def compiled(pattern: str) -> re.Pattern[str]:
    """A compiled expression that cannot run away.

    Raises:
        ValueError: it does not compile, or searching with it may take too long.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"the expression is longer than {LONGEST_PATTERN} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            expression = re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        raise ValueError(f"this is no regular expression: {error}") from error
    if any(_VERBOSE.match(piece) for piece in _TOKEN.findall(pattern)):
        raise ValueError("the flag x (comments in the expression) is not allowed")
    if ways_through(pattern) > _MOST_WAYS:
        raise ValueError(
            "searching with this expression may take too long; use fewer * and +, and none"
            " inside a group that is repeated itself"
        )
    return expression


@dataclass(slots=True)
class _Group:
    """The ways through the branches of a group, as far as it has been read."""

    closed_branches: int = 0
    ways: int = 1
    last: int = 1  # ways through the latest item, which a quantifier multiplies


def ways_through(pattern: str) -> int:
    """Upper estimate of the ways in which a compiled pattern can go through a text."""
    groups = [_Group()]
    for piece in _TOKEN.findall(pattern):
        group = groups[-1]
        if piece.startswith("(?(") or (piece[0] == "(" and not piece.endswith(")")):
            groups.append(_Group())
        elif piece == ")" and len(groups) > 1:
            inner = groups.pop()
            groups[-1].last = inner.closed_branches + inner.ways
            groups[-1].ways *= groups[-1].last
        elif piece == "|":
            group.closed_branches += group.ways
            group.ways, group.last = 1, 1
        elif (most := _most_repeats(piece)) is not None:
            group.ways = group.ways // group.last * _repeated(group.last, most)
            group.last = 1
        else:
            group.last = 1
    return sum(group.closed_branches + group.ways for group in groups)


def _most_repeats(piece: str) -> tuple[int, int] | None:
    """Fewest and most repetitions of a quantifier, None for other tokens."""
    if piece[0] == "?" and len(piece) <= 2:
        return 0, 1
    if piece[0] in "*+" and len(piece) <= 2:
        return 0, SEARCHED_CHARACTERS
    counts = _COUNTS.fullmatch(piece)
    if counts is None or not (counts[1] or counts[3]):
        return None
    fewest = int(counts[1] or 0)
    if not counts[2]:
        return fewest, fewest
    return fewest, int(counts[3]) if counts[3] else SEARCHED_CHARACTERS


def _repeated(ways: int, repeats: tuple[int, int]) -> int:
    fewest, most = (min(count, SEARCHED_CHARACTERS) for count in repeats)
    choices = 1 if fewest == most else most - fewest + 2
    return choices * int(ways ** min(most, 64))
