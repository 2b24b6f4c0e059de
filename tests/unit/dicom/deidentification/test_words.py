"""Descriptions keep words of radiology and lose all others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicom.deidentification.words import cleaned_words, vocabulary, words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CT Abdomen/Pelvis 3mm portal venous", "CT Abdomen/Pelvis 3mm portal venous"),
        ("t1_mprage_sag Mueller", "t1 mprage sag"),
        ("AX T2 FLAIR 5.0 2019-03-04", "AX T2 FLAIR"),
        ("CT 12 03 1952", "CT"),
        ("Thorax MRN 48151623", "Thorax"),
        ("Dr. Haus, Herz", ""),
        ("Rorden^Rorden_Prisma", ""),
        ("", ""),
    ],
)
def test_the_table_of_descriptions(text: str, expected: str) -> None:
    assert cleaned_words(text, ()) == expected


def test_names_go_even_where_they_are_words() -> None:
    assert cleaned_words("Hand lateral", {"hand"}) == "lateral"


def test_a_site_may_allow_words_of_its_own() -> None:
    assert cleaned_words("Schädel nativ", ()) == "nativ"
    assert cleaned_words("Schädel nativ", (), {"schadel"}) == "Schädel nativ"


def test_no_name_of_a_discoverer_is_in_the_vocabulary() -> None:
    eponyms = {"douglas", "baker", "towne", "fallot", "wharton", "colles", "monroe"}
    assert not eponyms & vocabulary()
    assert {"abdomen", "portal", "venous", "spleen", "flair"} <= vocabulary()


@given(st.text(max_size=64))
def test_what_stays_is_in_the_vocabulary(text: str) -> None:
    for word in words_of(cleaned_words(text, ())):
        assert word in vocabulary() or len(word) == 1 or (word.isdigit() and len(word) <= 2)
