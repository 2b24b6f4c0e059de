"""Which texts name an object, and how the gateway names its own."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from gateway.dicom.uids import derived_uid, is_uid


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_a_derived_uid_is_valid_short_and_under_2_25(parts: list[str]) -> None:
    uid = derived_uid(*parts)
    assert UID(uid).is_valid
    assert len(uid) <= 64
    assert uid.startswith("2.25.")


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_a_derived_uid_is_a_version_8_uuid(parts: list[str]) -> None:
    number = uuid.UUID(int=int(derived_uid(*parts).removeprefix("2.25.")))
    assert (number.version, number.variant) == (8, uuid.RFC_4122)


def test_the_same_parts_give_the_same_uid_on_every_machine() -> None:
    assert derived_uid("a", "b") == derived_uid("a", "b")
    # Written down: a change of this value would send every result a second time.
    assert derived_uid("series", "1.2.3") == "2.25.77248274441229367721579675199755354638"


def test_where_a_part_ends_makes_a_difference() -> None:
    assert len({derived_uid("ab", "c"), derived_uid("a", "bc"), derived_uid("abc")}) == 3


def test_ten_thousand_derived_uids_differ() -> None:
    assert len({derived_uid("instance", str(number)) for number in range(10_000)}) == 10_000


@pytest.mark.parametrize("text", ["1.2.840.10008.1.1", "2.25.0", "1", "1.02.3", "1." * 31 + "11"])
def test_texts_that_name_an_object(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1.",
        ".1",
        "1..2",
        "1.2 ",
        "1.2\n",
        "1.2\0",
        "1.a",
        "../1",
        "1/2",
        "1.\N{ARABIC-INDIC DIGIT TWO}",
        "1" * 65,
    ],
)
def test_texts_that_name_none(text: str) -> None:
    assert not is_uid(text)
