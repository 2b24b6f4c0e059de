"""Media types: what a request's body is, and what its client takes (RFC 9110 section 12.5)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

_PARAMETER = re.compile(r'\s*;\s*(?:([^\s=;,"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,"]*)))?')
_NAME = re.compile(r"\s*([^\s;,/\"]+/[^\s;,/\"]+|\*)")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaType:
    """A media type with its parameters; names are in lower case."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a Content-Type; nothing where it is none.

        Values may stand without quotes where they should not, as in ``type=application/dicom``.
        """
        return next(cls._all(text), None)

    @classmethod
    def parse_list(cls, text: str) -> tuple[Self, ...]:
        """Read an Accept header, as far as it can be understood."""
        return tuple(cls._all(text))

    @classmethod
    def _all(cls, text: str) -> Iterator[Self]:
        position = 0
        while (named := _NAME.match(text, position)) is not None:
            parameters: dict[str, str] = {}
            position = named.end()
            while (one := _PARAMETER.match(text, position)) is not None:
                position = one.end()
                if one[1]:
                    value = _ESCAPED.sub(r"\1", one[2]) if one[2] is not None else one[3].strip()
                    parameters.setdefault(one[1].lower(), value)
            yield cls(name=named[1].lower(), parameters=parameters)
            rest = text[position:].lstrip()
            if not rest.startswith(","):
                return
            position = len(text) - len(rest) + 1

    @property
    def quality(self) -> float:
        """How much a client wants it, from 0 to 1; what is no number counts as 1."""
        try:
            return min(1.0, max(0.0, float(self.parameters.get("q", "1"))))
        except ValueError:
            return 1.0

    def covers(self, name: str) -> bool:
        """Tell whether this range of an Accept header includes a media type."""
        main = name.partition("/")[0]
        return self.name in (name, f"{main}/*", "*/*", "*")


def negotiated(accept: str, offered: Sequence[str]) -> str | None:
    """Return the offered media type that a client wants most, the first of equals.

    An empty Accept header takes everything; None where nothing offered is wanted.
    """
    ranges = MediaType.parse_list(accept)
    if not ranges:
        return None if accept.strip() else offered[0]
    best = max(offered, key=lambda name: _quality(ranges, name))
    return best if _quality(ranges, best) > 0 else None


def _quality(ranges: Sequence[MediaType], name: str) -> float:
    """Return what the most specific range says of a media type."""
    matching = [one for one in ranges if one.covers(name)]
    return max(matching, key=lambda one: one.name.count("*") * -1).quality if matching else 0.0
