"""A multipart body, cut into its parts as its bytes come (RFC 2046 section 5.1)."""

import re
from enum import Enum, auto
from typing import Protocol

from gateway.errors import RequestMalformed

_LARGEST_HEADER_BYTES = 1 << 14
# RFC 2046 allows 70 characters; Orthanc sends 73.
_BOUNDARY = re.compile(r"[\x20-\x7e]{1,200}")
_LINE_REST = re.compile(rb"(--)|[ \t]{0,64}\r?\n")
_BEGUN_LINE_REST = re.compile(rb"-|[ \t]{0,64}\r?")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_NO_HEADER = re.compile(rb"\r?\n")


class Parts(Protocol):
    """Takes the parts of a body, one after the other."""

    def begin(self) -> None:
        """Take it that a part begins."""

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the part."""

    def end(self) -> None:
        """Take it that the part is whole."""


class Body(Protocol):
    """A request's body, which hands on its parts as its bytes come."""

    def feed(self, content: bytes) -> None:
        """Take the next bytes.

        Raises:
            RequestMalformed: they make no sense; nothing after them does.
        """

    def finish(self) -> None:
        """Take it that there is no more.

        Raises:
            RequestMalformed: there should be.
        """


class SinglePart:
    """A body that is one part as it stands."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._is_begun = False

    def feed(self, content: bytes) -> None:
        """Take the next bytes."""
        if not self._is_begun:
            self._is_begun = True
            self._parts.begin()
        self._parts.write(memoryview(content))

    def finish(self) -> None:
        """Take it that there is no more."""
        if self._is_begun:
            self._parts.end()


def require_boundary(boundary: str) -> None:
    """Refuse what can be no boundary.

    Raises:
        RequestMalformed: it is empty, too long, or not printable ASCII.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise RequestMalformed("the multipart boundary is not 1 to 200 printable characters")


class _State(Enum):
    PREAMBLE = auto()
    HEADER = auto()
    CONTENT = auto()
    EPILOGUE = auto()


class Multipart:
    """A multipart body.

    What stands before the first boundary and after the last one is passed over, and so are the
    headers of the parts. Lines may end without a carriage return where the first boundary's does.
    No more than the beginning of a boundary or of a header is held from one call to the next.
    """

    def __init__(self, boundary: str, parts: Parts) -> None:
        """Hand the parts between lines with this boundary on to ``parts``."""
        self._dashes = b"--" + boundary.encode()
        self._delimiter = b"\n" + self._dashes
        self._parts = parts
        self._state = _State.PREAMBLE
        # The first boundary needs no line before it.
        self._held = b"\n"

    def feed(self, content: bytes) -> None:
        """Take the next bytes; `Body.feed` tells the rest."""
        content = self._held + content if self._held else content
        at: int | None = 0
        while at is not None:
            self._held = b""
            match self._state:
                case _State.PREAMBLE:
                    at = self._pass_preamble(content, at)
                case _State.HEADER:
                    at = self._pass_header(content, at)
                case _State.CONTENT:
                    at = self._hand_on(content, at)
                case _State.EPILOGUE:
                    return

    def finish(self) -> None:
        """Take it that there is no more.

        Raises:
            RequestMalformed: the closing boundary did not come.
        """
        if self._state is _State.PREAMBLE:
            raise RequestMalformed("the body holds no line with the boundary of its Content-Type")
        if self._state is not _State.EPILOGUE:
            raise RequestMalformed("the body ended before its closing boundary")

    def _pass_preamble(self, content: bytes, at: int) -> int | None:
        found, after = self._find(content, at)
        if after is None:
            self._held = content[found:]
            return None
        if content[after - 2 : after] == b"\r\n":
            self._delimiter = b"\r\n" + self._dashes
        return after

    def _pass_header(self, content: bytes, at: int) -> int | None:
        # A part without a header begins with the empty line that would end it.
        end = _NO_HEADER.match(content, at) or _HEADER_END.search(
            content, at, at + _LARGEST_HEADER_BYTES
        )
        if end is not None:
            self._state = _State.CONTENT
            self._parts.begin()
            return end.end()
        if len(content) - at > _LARGEST_HEADER_BYTES:
            raise RequestMalformed("the header of a part is longer than 16 kB")
        self._held = content[at:]
        return None

    def _hand_on(self, content: bytes, at: int) -> int | None:
        found, after = self._find(content, at)
        if found > at:
            self._parts.write(memoryview(content)[at:found])
        if after is None:
            self._held = content[found:]
        else:
            self._parts.end()
        return after

    def _find(self, content: bytes, at: int) -> tuple[int, int | None]:
        """Return where a delimiter begins and where what follows it does.

        Without the latter, there is no delimiter before the former, and one may begin there. The
        state is what the delimiter leads to.
        """
        while (found := content.find(self._delimiter, at)) >= 0:
            line = found + len(self._delimiter)
            if rest := _LINE_REST.match(content, line):
                self._state = _State.EPILOGUE if rest[1] else _State.HEADER
                return found, rest.end()
            if _BEGUN_LINE_REST.fullmatch(content, line):
                return found, None
            at = found + 1
        return self._begun(content, at), None

    def _begun(self, content: bytes, at: int) -> int:
        """Return where a delimiter begins of which the rest is still to come, or the end."""
        first = self._delimiter[:1]
        found = content.find(first, max(at, len(content) - len(self._delimiter) + 1))
        while found >= 0:
            if self._delimiter.startswith(content[found:]):
                return found
            found = content.find(first, found + 1)
        return len(content)
