"""Text values as DICOM JSON (PS3.18 annex F)."""

from typing import Any

import pytest
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from gateway.dicomweb.dicom_json import json_item


def element(keyword: str, text: str) -> dict[str, Any]:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    found: dict[str, Any] = json_item({tag: text})[f"{tag:08X}"]
    return found


@pytest.mark.parametrize(
    ("keyword", "text", "expected"),
    [
        ("PatientID", "7", {"vr": "LO", "Value": ["7"]}),
        ("PatientID", "", {"vr": "LO"}),
        ("StudyDate", "20240229", {"vr": "DA", "Value": ["20240229"]}),
        ("ModalitiesInStudy", "CT\\SEG", {"vr": "CS", "Value": ["CT", "SEG"]}),
        ("ModalitiesInStudy", "\\SEG", {"vr": "CS", "Value": [None, "SEG"]}),
        ("SeriesNumber", "007", {"vr": "IS", "Value": [7]}),
        ("SeriesNumber", "-1 ", {"vr": "IS", "Value": [-1]}),
        ("SeriesNumber", "", {"vr": "IS"}),
        ("SeriesNumber", "1.5", {"vr": "IS"}),
        ("SeriesNumber", "٣", {"vr": "IS"}),
        ("PatientName", "", {"vr": "PN"}),
        ("PatientName", "Doe^Jane", {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}),
        (
            "PatientName",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            {
                "vr": "PN",
                "Value": [
                    {
                        "Alphabetic": "Yamada^Tarou",
                        "Ideographic": "山田^太郎",
                        "Phonetic": "やまだ^たろう",
                    }
                ],
            },
        ),
        ("PatientName", "=山田", {"vr": "PN", "Value": [{"Ideographic": "山田"}]}),
        ("PatientName", "==", {"vr": "PN"}),
    ],
)
def test_a_value_has_the_form_of_its_vr(keyword: str, text: str, expected: dict[str, Any]) -> None:
    assert element(keyword, text) == expected


def test_the_character_set_is_named_where_it_matters() -> None:
    assert json_item({0x00100010: "山田"})["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert "00080005" not in json_item({0x00100010: "Yamada"})


def test_elements_are_in_the_order_of_their_tags_and_pydicom_reads_them() -> None:
    item = json_item({0x00200011: "3", 0x00100010: "A=山", 0x00080061: "\\SEG", 0x00080020: ""})
    assert list(item) == sorted(item)
    read = Dataset.from_json(item)
    assert (read.SeriesNumber, str(read.PatientName), read.StudyDate) == (3, "A=山", "")
