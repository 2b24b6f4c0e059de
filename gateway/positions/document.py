"""A document with positions, and the words for what a pydantic model finds wrong in it."""

import difflib
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import pydantic
from pydantic_core import ErrorDetails

from gateway.errors import ConfigurationInvalid, Problem

Position = tuple[int, int]
"""Line and column, both counted from 1."""
Location = tuple[str | int, ...]
"""Keys and list indices that lead from a document's root to a value, as pydantic gives them."""

MAX_FILE_BYTES: Final = 1 << 20  # a thousand rules are 400 kB
LONGEST_QUOTE: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class PositionedDocument:
    """One document of a file as plain Python values, with the place of each key and item."""

    data: Any
    positions: Mapping[Location, Position]

    def position(self, location: Location) -> Position:
        """Line and column of a key or list item, or of its nearest ancestor in the document.

        Elements that are not in the document, such as the names of union members that
        pydantic puts into its locations, are passed over.
        """
        known: Location = ()
        for element in location:
            for step in (element, str(element)):
                if (*known, step) in self.positions:
                    known = (*known, step)
                    break
        return self.positions.get(known, (1, 1))

    def below(self, location: Location) -> Self:
        """The part of the document at ``location``, its data and the positions in it."""
        depth = len(location)
        inner = {
            known[depth:]: position
            for known, position in self.positions.items()
            if known[:depth] == location
        }
        data = self.data
        for step in location:
            data = data[step]
        return replace(self, data=data, positions=inner)

    def problem(self, path: Path, location: Location, message: str) -> Problem:
        """A problem at the position of ``location``."""
        return Problem(path, *self.position(location), message)


def read_file(path: Path) -> bytes:
    """Content of a file of at most 1 MiB.

    Raises:
        ConfigurationInvalid: the file cannot be read or is too large.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise invalid(path, (0, 0), f"the file cannot be read: {reason}") from error
    if len(content) > MAX_FILE_BYTES:
        raise invalid(path, (1, 1), f"the file is larger than {MAX_FILE_BYTES} bytes; split it")
    return content


def decode(path: Path, content: bytes) -> str:
    """Text of UTF-8 bytes, with line ends as ``\\n`` and without a byte order mark.

    Raises:
        ConfigurationInvalid: the bytes are not UTF-8; the position is that of the first bad one.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        message = "this is not UTF-8 text; save the file with the encoding UTF-8"
        raise invalid(path, position_at(before, len(before)), message) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def position_at(text: str, index: int) -> Position:
    """Line and column of a character of a text."""
    line_start = text.rfind("\n", 0, index) + 1
    return text.count("\n", 0, index) + 1, index - line_start + 1


def invalid(path: Path, position: Position, message: str) -> ConfigurationInvalid:
    """The error for one problem of a file."""
    return ConfigurationInvalid([Problem(path, *position, message)])


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean `x`?`` for the known word that is most like ``word``, or nothing."""
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean `{by_folded[found[0]]}`?" if found else ""


def quoted(value: object) -> str:
    """A value as people wrote it, cut where it is long."""
    match value:
        case bool():
            text = str(value).lower()
        case None:
            return "nothing"
        case Mapping():
            return "a group of keys"
        case list() | tuple():
            return "a list"
        case _:
            text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 3]}..."


def problems(
    path: Path,
    document: PositionedDocument,
    error: pydantic.ValidationError,
    *,
    model: type[pydantic.BaseModel] | None = None,
    planned: Collection[str] = (),
) -> list[Problem]:
    """What a model found wrong in a document, in people's words and file order.

    With ``model``, the class that was validated, an unknown key comes with the nearest
    right spelling. Unknown keys in ``planned`` are said to be for another version.
    """
    found = [
        document.problem(path, _shown(detail), _message(document, detail, model, planned))
        for detail in _first_causes(error.errors(include_url=False))
    ]
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.line, problem.column))


def _first_causes(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out lists that are too short only because their items were refused."""
    places = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    return [one for one in details if one["type"] != "too_short" or one["loc"] not in places]


def _shown(detail: ErrorDetails) -> Location:
    return detail["loc"][:-1] if detail["type"] == "missing" else detail["loc"]


def _message(
    document: PositionedDocument,
    detail: ErrorDetails,
    model: type[pydantic.BaseModel] | None,
    planned: Collection[str],
) -> str:
    name = _nearest_key(document, detail["loc"])
    last = str(detail["loc"][-1]) if detail["loc"] else ""
    match detail["type"]:
        case "missing":
            return f"the key `{last}` is missing"
        case "extra_forbidden" if last in planned:
            return f"`{last}` is not part of this version"
        case "extra_forbidden":
            known = sorted(set(_fields_at(model, detail["loc"][:-1]))) if model else []
            return f"unknown key `{last}`{_offer(last, known)}"
        case _:
            words = _words(detail)
            return f"{name}: {words}" if name else words


def _nearest_key(document: PositionedDocument, location: Location) -> str:
    keys = {known[-1] for known in document.positions if known}
    return next((s for s in reversed(location) if isinstance(s, str) and s in keys), "")


def _offer(word: str, known: list[str]) -> str:
    suggestion = nearest(word, known)
    if suggestion or not known:
        return suggestion
    return f"; known here: {', '.join(known)}"


def _words(detail: ErrorDetails) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail.get("input")
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind](context)}, not {quoted(value)}"
    if kind in ("literal_error", "enum"):
        allowed = str(context.get("expected", ""))
        choices = [part.strip().strip("'") for part in allowed.replace(" or ", ",").split(",")]
        return f"must be one of {', '.join(choices)}, not {quoted(value)}" + (
            nearest(value, choices) if isinstance(value, str) else ""
        )
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    for part, wanted in _WANTED:
        if kind.startswith(part):
            return f"must be {wanted}, not {quoted(value)}"
    return detail["msg"][:1].lower() + detail["msg"][1:]


_BOUNDS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "greater_than": lambda context: f"more than {context['gt']}",
    "greater_than_equal": lambda context: f"at least {context['ge']}",
    "less_than": lambda context: f"less than {context['lt']}",
    "less_than_equal": lambda context: f"at most {context['le']}",
    "multiple_of": lambda context: f"a multiple of {context['multiple_of']}",
    "string_too_short": lambda context: f"text of at least {context['min_length']} characters",
    "string_too_long": lambda context: f"text of at most {context['max_length']} characters",
    "string_pattern_mismatch": lambda context: f"text of the form {context['pattern']}",
    "too_short": lambda context: f"at least {context['min_length']} long",
    "too_long": lambda context: f"at most {context['max_length']} long",
}

_WANTED: Final = (
    ("string", "text"),
    ("int", "a whole number"),
    ("float", "a number"),
    ("finite_number", "a finite number"),
    ("decimal", "a number"),
    ("bool", "true or false"),
    ("list", "a list"),
    ("tuple", "a list"),
    ("set", "a list"),
    ("frozen_set", "a list"),
    ("dict", "a group of keys"),
    ("mapping", "a group of keys"),
    ("model", "a group of keys"),
    ("dataclass", "a group of keys"),
    ("path", "a path"),
    ("url", "an address such as https://host/path"),
    ("none", "left out"),
)


def _fields_at(model: type[pydantic.BaseModel], location: Location) -> Iterator[str]:
    """Names of the keys that the models at a location know."""
    candidates = [model]
    for step in location:
        inner = [one for candidate in candidates for one in _models_below(candidate, step)]
        candidates = inner or candidates
    for candidate in candidates:
        for name, field in candidate.model_fields.items():
            yield field.alias or name


def _models_below(
    model: type[pydantic.BaseModel], step: str | int
) -> Iterator[type[pydantic.BaseModel]]:
    by_key = {field.alias or name: field for name, field in model.model_fields.items()}
    if step in by_key:
        yield from _models_in(by_key[str(step)].annotation)
    elif isinstance(step, str) and model.model_config.get("extra") == "allow":
        yield from _models_in(typing.get_type_hints(model)["__pydantic_extra__"])


def _models_in(annotation: object) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
