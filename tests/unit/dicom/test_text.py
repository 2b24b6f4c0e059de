"""Text out of its character set, and what names have in common."""

import pytest

from gateway.dicom.text import decoded, folded


@pytest.mark.parametrize(
    ("raw", "character_set", "text"),
    [
        (b"Buc^J\xe9r\xf4me", "ISO_IR 100", "Buc^Jérôme"),
        ("Buc^Jérôme".encode(), "ISO_IR 192", "Buc^Jérôme"),
        (
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
            "\\ISO 2022 IR 87",
            "Yamada^Tarou=山田^太郎",
        ),
        (b"Smith^John", "", "Smith^John"),
        (b"Smith^John", "NONSENSE", "Smith^John"),
        (b"J\xe9r\xf4me", "NONSENSE", "J\ufffdr\ufffdme"),
    ],
)
def test_text_is_read_in_the_character_set_that_is_declared(
    raw: bytes, character_set: str, text: str
) -> None:
    assert decoded(raw, character_set) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [("MÜLLER", "muller"), ("Jérôme", "JEROME"), ("Straße", "STRASSE"), ("Ωραία", "ωραια")],
)
def test_names_that_differ_in_case_and_accents_are_equal_when_folded(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("か", "が"), ("Muller", "Mueller"), ("김", "긴")])
def test_letters_of_their_own_stay_apart(one: str, other: str) -> None:
    assert folded(one) != folded(other)
