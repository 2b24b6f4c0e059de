"""The head of a Part 10 file, read as its bytes come."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicom.part10 import file_header
from gateway.dicom.part10_stream import FileMetaReader, Head
from gateway.errors import DataSetUnreadable

CT, INSTANCE, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "2.25.3", "1.2.840.10008.1.2.1"
DATA_SET = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + bytes(20)
FILE = file_header(CT, INSTANCE, EXPLICIT) + DATA_SET


def element(number: int, content: bytes, vr: bytes = b"UI") -> bytes:
    content += b"\0" * (len(content) % 2)
    if vr == b"OB":
        return struct.pack("<HH2s2xI", 2, number, vr, len(content)) + content
    return struct.pack("<HH2sH", 2, number, vr, len(content)) + content


NAMES = b"".join(
    [
        element(0x0001, b"\0\1", b"OB"),
        element(0x0002, CT.encode()),
        element(0x0003, INSTANCE.encode()),
        element(0x0010, EXPLICIT.encode()),
    ]
)


def with_meta(meta: bytes, length: int | None) -> bytes:
    group_length = b"" if length is None else element(0, struct.pack("<I", length), b"UL")
    return bytes(128) + b"DICM" + group_length + meta + DATA_SET


def read(*fragments: bytes) -> tuple[Head | None, int]:
    """Return the head, and how many fragments it took."""
    reader = FileMetaReader()
    for number, fragment in enumerate(fragments, start=1):
        if (head := reader.feed(fragment)) is not None:
            return head, number
    return None, len(fragments)


def assert_is_read(head: Head | None, rest: bytes = DATA_SET) -> None:
    assert head is not None
    assert (head.meta.sop_class_uid, head.meta.sop_instance_uid) == (CT, INSTANCE)
    assert head.meta.transfer_syntax_uid == EXPLICIT
    assert bytes(head.data_set) == rest


def test_a_head_is_told_from_what_follows_it() -> None:
    assert_is_read(read(FILE)[0])


@given(st.lists(st.integers(0, len(FILE)), max_size=6))
def test_it_does_not_matter_how_the_bytes_come(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(FILE)]
    fragments = [FILE[a:b] for a, b in itertools.pairwise(edges)]

    head, number = read(*fragments)

    assert head is not None
    assert_is_read(head, DATA_SET[: len(head.data_set)])
    assert bytes(head.data_set) + b"".join(fragments[number:]) == DATA_SET


def test_one_byte_at_a_time_is_enough() -> None:
    head, number = read(*(FILE[at : at + 1] for at in range(len(FILE))))
    assert_is_read(head, b"")
    assert number == len(FILE) - len(DATA_SET)


def test_a_missing_group_length_is_no_matter() -> None:
    assert_is_read(read(with_meta(NAMES, None))[0])


@pytest.mark.parametrize("off", [-3, 5, 100_000])
def test_a_wrong_group_length_is_no_matter(off: int) -> None:
    assert_is_read(read(with_meta(NAMES, len(NAMES) + off))[0])


def test_a_file_may_be_a_head_only() -> None:
    assert_is_read(read(FILE[: -len(DATA_SET)])[0], b"")


@pytest.mark.parametrize(
    "content",
    [b"\0" * 200, b"GIF89a" + bytes(200), bytes(128) + b"DICN", bytes(128) + b"DI\0"],
)
def test_what_is_no_dicom_file_is_refused_at_once(content: bytes) -> None:
    with pytest.raises(DataSetUnreadable, match="no DICM prefix"):
        read(content)


@pytest.mark.parametrize("size", [0, 10, 131, 132, 143, 200])
def test_a_part_of_a_head_is_not_enough(size: int) -> None:
    assert read(FILE[:size])[0] is None


@pytest.mark.parametrize(
    ("number", "name"),
    [(0x0002, "SOP Class"), (0x0003, "SOP Instance"), (0x0010, "Transfer Syntax")],
)
@pytest.mark.parametrize("text", [b"", b"../../etc/passwd", b"1.2.3\xff", b"1" * 66])
def test_a_head_without_good_names_is_refused(number: int, name: str, text: bytes) -> None:
    meta = NAMES + element(number, text)
    with pytest.raises(DataSetUnreadable, match=name):
        read(with_meta(meta, len(meta)))


def test_a_head_without_end_is_refused() -> None:
    endless = bytes(128) + b"DICM" + struct.pack("<HH2s2xI", 2, 0x0102, b"OB", 0xFFFFFFFE)
    reader = FileMetaReader()
    assert reader.feed(endless) is None
    assert reader.feed(bytes(60_000)) is None
    with pytest.raises(DataSetUnreadable, match="longer than 64 kB"):
        reader.feed(bytes(6_000))
