"""Dates move by whole days in the precision they have."""

from datetime import date

import pytest

from gateway.dicom.deidentification.dates import day_of, shifted


@pytest.mark.parametrize(
    ("text", "days", "expected"),
    [
        ("20240301", -1, "20240229"),
        ("2024.03.01", -1, "20240229"),
        ("20240229 ", 366, "20250301"),
        ("20240301101112.123456+0100", -1, "20240229101112.123456+0100"),
        ("202403", -1, "202402"),
        ("2024", -1, "2023"),
        ("2024030110", -1, "2024022910"),
        ("", -1, ""),
        ("Monday", -1, ""),
        ("20240301 Smith", -1, ""),
        ("20241301", -1, ""),
        ("00010101", -1, ""),
        ("20240301-20240401", -1, ""),
    ],
)
def test_the_table_of_dates(text: str, days: int, expected: str) -> None:
    assert shifted(text, days) == expected


def test_the_day_of_a_date_time() -> None:
    assert day_of("20240229101112") == date(2024, 2, 29)
    assert day_of("none") is None
