"""YAML 1.2 with positions, from ruamel.yaml's events; only what rule and model files need.

Aliases, anchors, tags and keys that are not words are refused, so that a file says what it
says in place, and a small file cannot grow into a large one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from gateway.errors import ConfigurationInvalid, Problem
from gateway.positions.document import (
    Location,
    Position,
    PositionedDocument,
    decode,
    invalid,
    position_at,
    read_file,
)

MAX_DEPTH: Final = 40

_FORBIDDEN: Final = re.compile("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAB_INDENT: Final = re.compile(r"^ *\t[ \t]*(?=[^\s#])", re.MULTILINE)
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_OCTAL_OR_HEX: Final = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def load_yaml(path: Path, *, as_written: bool = False) -> list[PositionedDocument]:
    """The documents of a YAML file, empty ones left out.

    Words become values as in the core schema of YAML 1.2: ``YES``, ``on``, dates and numbers
    with leading zeros stay text. With ``as_written`` every plain word stays text (an empty
    one is None), for files whose readers know better what a word means.

    Raises:
        ConfigurationInvalid: the file cannot be read, holds nothing, is no YAML, repeats a
            key, or uses aliases, anchors, tags or more than 40 levels.
    """
    return parse_yaml(path, decode(path, read_file(path)), as_written=as_written)


def parse_yaml(path: Path, text: str, *, as_written: bool = False) -> list[PositionedDocument]:
    """The documents of a YAML text, as `load_yaml`; ``path`` names it in problems."""
    if bad := _FORBIDDEN.search(text):
        name = f"U+{ord(bad.group()):04X}"
        raise invalid(path, position_at(text, bad.start()), f"the character {name} is not allowed")
    builder = _Builder(path=path, as_written=as_written)
    try:
        builder.take(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        raise _syntax_error(path, text, error) from error
    except (YAMLError, ValueError, OverflowError) as error:
        # ruamel.yaml lets chr() fail on escapes such as "\U00110000".
        raise invalid(path, builder.reached, f"this is not YAML: {error}") from error
    if builder.repeated:
        raise ConfigurationInvalid(builder.repeated)
    if not builder.documents:
        raise invalid(path, (1, 1), "the file is empty")
    return builder.documents


def _syntax_error(path: Path, text: str, error: MarkedYAMLError) -> ConfigurationInvalid:
    tab = _TAB_INDENT.search(text)
    unclosed = error.problem is not None and "end of stream" in error.problem
    mark = (error.context_mark if unclosed else None) or error.problem_mark or error.context_mark
    if mark is None:
        return invalid(path, (1, 1), f"this is not YAML: {error.problem}")
    position = (mark.line + 1, mark.column + 1)
    if tab and position_at(text, tab.start())[0] <= position[0]:
        tab_at = position_at(text, text.index("\t", tab.start()))
        return invalid(path, tab_at, "a tab indents this line; YAML takes spaces only")
    parts = [part for part in (error.context, error.problem) if part]
    return invalid(path, position, f"this is not YAML: {': '.join(parts)}")


@dataclass(kw_only=True, slots=True)
class _Frame:
    """A mapping or list that is being filled."""

    container: dict[str | int, Any] | list[Any]
    location: Location
    key: str | int | None = None

    @property
    def wants_key(self) -> bool:
        return isinstance(self.container, dict) and self.key is None

    def next_location(self) -> Location:
        step = len(self.container) if isinstance(self.container, list) else self.key
        return self.location if step is None else (*self.location, step)

    def add(self, value: object) -> None:
        if isinstance(self.container, list):
            self.container.append(value)
        elif self.key is not None:
            self.container[self.key] = value
            self.key = None


@dataclass(kw_only=True, slots=True)
class _Builder:
    """Plain values and positions out of a stream of events."""

    path: Path
    as_written: bool
    documents: list[PositionedDocument] = field(default_factory=list)
    repeated: list[Problem] = field(default_factory=list)
    reached: Position = (1, 1)
    _root: Any = None
    _frames: list[_Frame] = field(default_factory=list)
    _positions: dict[Location, Position] = field(default_factory=dict)

    def take(self, events: Iterable[Event]) -> None:
        """Build all documents of the stream."""
        for event in events:
            self.reached = (event.start_mark.line + 1, event.start_mark.column + 1)
            self._take_one(event)

    def _take_one(self, event: Event) -> None:
        if isinstance(event, NodeEvent):
            self._check_plain(event)
        match event:
            case DocumentStartEvent():
                self._root, self._positions = None, {}
            case DocumentEndEvent() if self._root is not None:
                document = PositionedDocument(data=self._root, positions=self._positions)
                self.documents.append(document)
            case ScalarEvent():
                self._take_scalar(event)
            case CollectionStartEvent():
                self._open(event)
            case CollectionEndEvent():
                self._add(self._frames.pop().container)
            case _:
                pass

    def _check_plain(self, event: NodeEvent) -> None:
        if isinstance(event, AliasEvent) or event.anchor is not None:
            self._refuse("anchors (&) and aliases (*) are not allowed; write the value out here")
        if getattr(event, "tag", None) not in (None, "!"):
            self._refuse("tags (!) are not allowed; put text that begins with ! in quotes")

    def _refuse(self, message: str) -> NoReturn:
        raise invalid(self.path, self.reached, message)

    def _take_scalar(self, event: ScalarEvent) -> None:
        plain = event.style is None
        if self._frames and self._frames[-1].wants_key:
            self._take_key(event.value, plain)
            return
        self._mark()
        if not plain:
            self._add(event.value)
        elif self.as_written:
            self._add(event.value or None)
        else:
            self._add(core_schema_value(event.value))

    def _take_key(self, word: str, plain: bool) -> None:
        if not word:
            self._refuse("a key is missing before the colon")
        frame = self._frames[-1]
        number = plain and not self.as_written and _INTEGER.fullmatch(word)
        frame.key = int(word) if number else word
        location = frame.next_location()
        if location in self._positions:
            line, column = self._positions[location]
            message = f"the key `{word}` is given twice, first in line {line}, column {column}"
            self.repeated.append(Problem(self.path, *self.reached, message))
        self._positions.setdefault(location, self.reached)

    def _open(self, event: CollectionStartEvent) -> None:
        if self._frames and self._frames[-1].wants_key:
            self._refuse("a key must be a word, not a list or group of keys")
        if len(self._frames) >= MAX_DEPTH:
            self._refuse(f"more than {MAX_DEPTH} levels deep")
        self._mark()
        location = self._frames[-1].next_location() if self._frames else ()
        is_mapping = isinstance(event, MappingStartEvent)
        self._frames.append(_Frame(container={} if is_mapping else [], location=location))

    def _mark(self) -> None:
        """Note where a list item or the root begins; a key has its place already."""
        location = self._frames[-1].next_location() if self._frames else ()
        self._positions.setdefault(location, self.reached)

    def _add(self, value: object) -> None:
        if self._frames:
            self._frames[-1].add(value)
        else:
            self._root = value


def core_schema_value(word: str) -> str | int | float | bool | None:
    """Value of a plain word in the core schema of YAML 1.2 (section 10.3.2).

    Numbers with leading zeros stay text: in DICOM they are identifiers, dates and times.
    """
    if word in _WORDS:
        return _WORDS[word]
    if _INTEGER.fullmatch(word):
        return int(word)
    if _OCTAL_OR_HEX.fullmatch(word):
        return int(word, 0)
    if word.lower() in (".inf", "+.inf", "-.inf", ".nan"):
        return float(word.replace(".", "", 1))
    return float(word) if _FLOAT.fullmatch(word) else word
