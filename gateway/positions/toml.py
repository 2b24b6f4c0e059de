"""TOML with positions: the values from tomllib, the places of keys from a scan of the text."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationInvalid
from gateway.positions.document import (
    Location,
    Position,
    PositionedDocument,
    decode,
    invalid,
    position_at,
    read_file,
)

_BLANK: Final = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_KEY: Final = re.compile(
    r"""[ \t]*(?:(?P<bare>[A-Za-z0-9_-]+)|"(?P<basic>(?:[^"\\\n]|\\.)*)"|'(?P<literal>[^'\n]*)')"""
    r"[ \t]*(?P<dot>\.)?"
)
_VALUE_PART: Final = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|.''',
    re.DOTALL,
)
_ERROR_AT: Final = re.compile(r"^(.*) \(at line (\d+), column (\d+)\)$", re.DOTALL)


def load_toml(path: Path) -> PositionedDocument:
    """The values of a TOML file, with the place of each key and table header.

    Keys inside inline tables and items of arrays have the place of the key that holds them.

    Raises:
        ConfigurationInvalid: the file cannot be read or is no TOML.
    """
    return parse_toml(path, decode(path, read_file(path)))


def parse_toml(path: Path, text: str) -> PositionedDocument:
    """The values of a TOML text, as `load_toml`; ``path`` names it in problems."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(path, text, error) from error
    except RecursionError as error:
        raise invalid(path, (1, 1), "arrays or tables are nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise invalid(path, (1, 1), f"this is not TOML: {error}") from error
    return PositionedDocument(data=data, positions=_Scan(text=text).positions())


def _syntax_error(path: Path, text: str, error: tomllib.TOMLDecodeError) -> ConfigurationInvalid:
    found = _ERROR_AT.match(str(error))
    if found is None:
        end = position_at(text, len(text.rstrip()))
        return invalid(
            path, end, f"this is not TOML: {str(error).removesuffix(' (at end of document)')}"
        )
    return invalid(path, (int(found[2]), int(found[3])), f"this is not TOML: {found[1]}")


@dataclass(kw_only=True, slots=True)
class _Scan:
    """A walk over the statements of a text that tomllib has found valid."""

    text: str
    _index: int = 0
    _table: Location = ()
    _positions: dict[Location, Position] = field(default_factory=lambda: {(): (1, 1)})
    _array_lengths: dict[Location, int] = field(default_factory=dict)

    def positions(self) -> dict[Location, Position]:
        """Positions of all keys and tables."""
        while self._skip_blank() < len(self.text):
            start = position_at(self.text, self._index)
            if self.text.startswith("[[", self._index):
                self._enter_array_item(start)
            elif self.text.startswith("[", self._index):
                self._enter_table(start)
            else:
                self._note(self._table, self._dotted_key(), start)
                self._skip_value()
        return self._positions

    def _skip_blank(self) -> int:
        blank = _BLANK.match(self.text, self._index)
        self._index = blank.end() if blank else self._index
        return self._index

    def _dotted_key(self) -> Location:
        return tuple(self._key_parts())

    def _key_parts(self) -> Iterator[str]:
        while part := _KEY.match(self.text, self._index):
            self._index = part.end()
            basic = part["basic"]
            yield part["bare"] or part["literal"] or (_unescaped(basic) if basic else "")
            if not part["dot"]:
                return

    def _enter_table(self, start: Position) -> None:
        self._index += 1
        self._table = self._note((), self._dotted_key(), start)
        self._index = self.text.index("]", self._index) + 1

    def _enter_array_item(self, start: Position) -> None:
        self._index += 2
        array = self._note((), self._dotted_key(), start)
        number = self._array_lengths.get(array, 0)
        self._array_lengths[array] = number + 1
        self._table = (*array, number)
        self._positions[self._table] = start
        self._index = self.text.index("]]", self._index) + 2

    def _note(self, table: Location, key: Location, start: Position) -> Location:
        """Location of a dotted key below a table; new steps of it get the position."""
        known = table
        for number, step in enumerate(key):
            known = (*known, step)
            self._positions.setdefault(known, start)
            if number < len(key) - 1 and known in self._array_lengths:
                known = (*known, self._array_lengths[known] - 1)
        return known

    def _skip_value(self) -> None:
        """Go to the end of the line that ends a value, over strings, arrays and comments."""
        depth = 0
        while part := _VALUE_PART.match(self.text, self._index):
            if part[0] == "\n" and depth == 0:
                return
            self._index = part.end()
            depth += (part[0] in "[{") - (part[0] in "]}")


def _unescaped(basic: str) -> str:
    return str(tomllib.loads(f'key = "{basic}"')["key"])
