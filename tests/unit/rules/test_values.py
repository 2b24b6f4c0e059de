"""Values of data sets and words of rules compare where they mean the same."""

import pytest

from gateway.rules.subjects import Kind
from gateway.rules.values import Value, comparable, word_form


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (Kind.CODE, "ct", "CT "),
        (Kind.TEXT, "Thorax 1.0", " Thorax 1.0"),
        (Kind.NAME, "Doe^Jane", "Doe^Jane^^"),
        (Kind.NUMBER, "3", 3.0),
        (Kind.NUMBER, "3.0", "3.000 "),
        (Kind.NUMBER, "1e1", 10),
        (Kind.NUMBER, "9007199254740993", 9007199254740993),
        (Kind.DATE, "2024-01-31", "20240131"),
        (Kind.DATE, "20240131", "2024.01.31"),
        (Kind.TIME, "14:30", "143000.000"),
        (Kind.UID, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2\0"),
        (Kind.UID, "CTImageStorage", "1.2.840.10008.5.1.4.1.1.2"),
        (Kind.UID, "JPEG2000Lossless", "1.2.840.10008.1.2.4.90"),
    ],
)
def test_a_word_and_a_value_are_the_same(kind: Kind, word: str, value: Value) -> None:
    assert word_form(kind, word) == comparable(kind, value)


@pytest.mark.parametrize(
    ("kind", "word", "message"),
    [
        (Kind.NUMBER, "three", "'three' is no number"),
        (Kind.NUMBER, "nan", "no number"),
        (Kind.NUMBER, "1_0", "no number"),
        (Kind.NUMBER, "9" * 5000, "no number"),
        (Kind.DATE, "2024-02-31", "no date"),
        (Kind.DATE, "today", "relative dates are not part of this version"),
        (Kind.TIME, "25:00", "no time"),
        (Kind.UID, "CTImageStorge", "did you mean `CTImageStorage`"),
    ],
)
def test_a_word_that_no_attribute_can_have_is_refused(kind: Kind, word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        word_form(kind, word)


def test_text_keeps_its_case_and_codes_do_not() -> None:
    assert comparable(Kind.TEXT, "Thorax") != comparable(Kind.TEXT, "THORAX")
    assert comparable(Kind.CODE, "Original") == comparable(Kind.CODE, "ORIGINAL")
