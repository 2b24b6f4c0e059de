"""Multipart bodies, cut into their parts."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dicomweb.multipart import Multipart, SinglePart, require_boundary
from gateway.errors import RequestMalformed

B = "b.1"


class Collected:
    """The parts of a body; those that did not end are None at the end."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.is_open = False

    def begin(self) -> None:
        assert not self.is_open
        self.is_open = True
        self.parts.append(b"")

    def write(self, fragment: memoryview) -> None:
        assert self.is_open
        self.parts[-1] += fragment

    def end(self) -> None:
        assert self.is_open
        self.is_open = False


def parts_of(*fragments: bytes, boundary: str = B) -> list[bytes]:
    collected = Collected()
    body = Multipart(boundary, collected)
    for fragment in fragments:
        body.feed(fragment)
    body.finish()
    assert not collected.is_open
    return collected.parts


def body_of(*parts: bytes, newline: bytes = b"\r\n", header: bytes = b"Content-Type: a/b") -> bytes:
    lines = [
        line
        for part in parts
        for line in (b"--" + B.encode(), *([header] if header else []), b"", part)
    ]
    return newline.join([*lines, b"--" + B.encode() + b"--", b""])


NASTY = [
    b"",
    b"one",
    b"\r\n",
    b"\r\n--b.",
    b"\r\n--b.1x\r\n",
    b"--b.1\r\n",
    b"\r\r\n--b.\r\n\r\n",
    b"\n--b.1--",
    b"ends with a return\r",
]


def test_parts_come_out_as_they_went_in() -> None:
    assert parts_of(body_of(*NASTY)) == NASTY


@given(st.lists(st.sampled_from(NASTY) | st.binary(max_size=30), max_size=4), st.randoms())
@example([b"\r"], random.Random(1))
def test_it_does_not_matter_how_the_bytes_come(parts: list[bytes], chance: random.Random) -> None:
    body = body_of(*parts)
    fragments = []
    while body:
        size = chance.choice([1, 1, 2, 7, 1000])
        fragments.append(body[:size])
        body = body[size:]
    assert parts_of(*fragments) == parts


def test_one_byte_at_a_time_is_enough() -> None:
    body = body_of(*NASTY)
    assert parts_of(*(body[at : at + 1] for at in range(len(body)))) == NASTY


@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"This is text.\r\n", b"x--b.1\r\n--b.1x\r\n"])
@pytest.mark.parametrize("epilogue", [b"", b"bye\r\n--b.1\r\n\r\nnot a part"])
def test_what_stands_around_the_parts_is_passed_over(preamble: bytes, epilogue: bytes) -> None:
    assert parts_of(preamble + body_of(b"one", b"two") + epilogue) == [b"one", b"two"]


def test_parts_need_no_header() -> None:
    assert parts_of(body_of(b"one", b"two", header=b"")) == [b"one", b"two"]


def test_boundaries_may_be_followed_by_blanks() -> None:
    body = body_of(b"one", b"two").replace(b"--b.1\r\n", b"--b.1 \t \r\n")
    assert parts_of(body) == [b"one", b"two"]


def test_lines_without_a_return_are_understood() -> None:
    parts = [b"one", b"two\r", b"\n\n", b""]
    assert parts_of(body_of(*parts, newline=b"\n")) == parts


def test_a_line_feed_alone_ends_no_part_where_lines_have_returns() -> None:
    assert parts_of(body_of(b"one\n--b.1\nmore")) == [b"one\n--b.1\nmore"]


def test_a_body_without_parts_is_one() -> None:
    assert parts_of(b"--b.1--") == []


@pytest.mark.parametrize("body", [b"", b"text", b"--other\r\n\r\none\r\n--other--", b"x--b.1--"])
def test_a_body_without_its_boundary_is_told(body: bytes) -> None:
    with pytest.raises(RequestMalformed, match="no line with the boundary"):
        parts_of(body)


@pytest.mark.parametrize("missing", range(1, 18))
def test_a_body_that_ends_early_is_told(missing: int) -> None:
    body = body_of(b"one", b"two").removesuffix(b"\r\n")
    with pytest.raises(RequestMalformed, match="before its closing boundary"):
        parts_of(body[:-missing])


def test_a_header_without_end_is_told() -> None:
    with pytest.raises(RequestMalformed, match="longer than 16 kB"):
        parts_of(b"--b.1\r\n", *[b"X-Long: long\r\n"] * 2000)


@pytest.mark.parametrize("boundary", ["", "x" * 201, "line\nfeed", "accént", "tab\t"])
def test_what_can_be_no_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(RequestMalformed, match="boundary"):
        require_boundary(boundary)


@pytest.mark.parametrize("boundary", ["a", "x" * 73, "with blanks", "'()+_,-./:=?"])
def test_every_boundary_of_the_standard_works(boundary: str) -> None:
    require_boundary(boundary)
    body = f"--{boundary}\r\n\r\none\r\n--{boundary}--".encode()
    assert parts_of(body, boundary=boundary) == [b"one"]


def test_a_single_part_is_the_body() -> None:
    collected = Collected()
    body = SinglePart(collected)
    for fragment in (b"on", b"e"):
        body.feed(fragment)
    body.finish()
    assert collected.parts == [b"one"]
    assert not collected.is_open


def test_an_empty_body_is_no_part() -> None:
    collected = Collected()
    SinglePart(collected).finish()
    assert collected.parts == []
