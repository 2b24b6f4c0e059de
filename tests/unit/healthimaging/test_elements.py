"""Elements of metadata become those of a data set: value by value, level by level."""

import base64
import struct
from collections.abc import Mapping
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.multival import MultiValue

from gateway.errors import DataSetUnreadable
from gateway.healthimaging.elements import ElementReader
from tests.unit.healthimaging.made import instance


def read(
    own: Mapping[str, Any], *shared: Mapping[str, Any], vrs: Mapping[str, str] | None = None
) -> Dataset:
    return instance(own, *shared, vrs=vrs).read(ElementReader()).dataset()


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientName", "Doe^Jane=ideographic", "Doe^Jane=ideographic"),
        ("Rows", 512, 512),
        ("Rows", "512", 512),
        ("SmallestImagePixelValue", -5, -5),
        ("ReferencePixelX0", -70000, -70000),
        ("FrameIncrementPointer", "00181063", 0x00181063),
        ("FrameIncrementPointer", "(0018,1063)", 0x00181063),
        ("FrameIncrementPointer", "FrameTime", 0x00181063),
        ("FrameIncrementPointer", 0x00181063, 0x00181063),
        ("FrameIncrementPointer", ["00181063", "00181065"], [0x00181063, 0x00181065]),
        ("EffectiveEchoTime", 2.5, 2.5),
        ("EffectiveEchoTime", "2.5", 2.5),
        ("DiffusionGradientOrientation", [0.0, "1", 0.5], [0.0, 1.0, 0.5]),
        ("ExtendedOffsetTable", base64.b64encode(bytes(8)).decode(), bytes(8)),
        ("FileOffsetInContainer", 2**63, 2**63),
        ("FileOffsetInContainer", str(2**64 - 1), 2**64 - 1),
        ("SelectorSVValue", [-(2**63), 1], [-(2**63), 1]),
        ("ICCProfile", "AAECAw==", bytes([0, 1, 2, 3])),
        ("ICCProfile", "AAEC", bytes([0, 1, 2, 0])),
        ("ImageType", ["ORIGINAL", None, "AXIAL"], ["ORIGINAL", "", "AXIAL"]),
        ("InstanceNumber", 7, 7),
        ("SliceThickness", 0.1, 0.1),
        ("StudyTime", "101112.000 ", "101112.000"),
        ("TableOfYBreakPoints", [1, 65535], [1, 65535]),
    ],
)
def test_each_form_of_a_value(keyword: str, value: Any, expected: Any) -> None:
    found = read({keyword: value})[keyword].value
    assert (list(found) if isinstance(found, MultiValue) else found) == expected


@pytest.mark.parametrize("keyword", ["PatientBirthDate", "Rows", "FrameIncrementPointer"])
def test_null_is_an_element_without_a_value(keyword: str) -> None:
    element = read({keyword: None})[keyword]
    assert element.is_empty


@pytest.mark.parametrize("value", [None, []])
def test_a_sequence_without_items_is_a_sequence(value: Any) -> None:
    element = read({"ReferencedStudySequence": value})["ReferencedStudySequence"]
    assert (element.VR, len(element.value)) == ("SQ", 0)


def test_decimal_and_integer_strings_keep_every_digit_and_space() -> None:
    dataset = read(
        {"ImagePositionPatient": ["-120.50", "+1e1 ", "-2.625000 "], "StageNumber": "007 "}
    )
    assert dataset.get_item("ImagePositionPatient").value == b"-120.50\\+1e1 \\-2.625000 "
    assert dataset.get_item("StageNumber").value == b"007 "
    assert str(dataset.ImagePositionPatient[0]) == "-120.50"


def test_levels_are_merged_and_the_instance_wins() -> None:
    dataset = read(
        {"InstanceNumber": "1", "Laterality": "L"},
        {"PatientName": "A"},
        {"StudyID": "S"},
        {"Laterality": "R"},
    )
    assert (dataset.PatientName, dataset.StudyID, dataset.Laterality) == ("A", "S", "L")


def test_group_0002_is_apart_and_pixel_data_left_out() -> None:
    elements = instance({"TransferSyntaxUID": "1.2.840.10008.1.2", "PixelData": None}).read(
        ElementReader()
    )
    assert "TransferSyntaxUID" not in elements.dataset()
    assert "PixelData" not in elements.dataset()
    assert Dataset({**elements.file_meta}).TransferSyntaxUID == "1.2.840.10008.1.2"


@pytest.mark.parametrize(
    ("own", "vr"),
    [
        ({"PixelPaddingValue": 0}, "US"),
        ({"PixelPaddingValue": 0, "PixelRepresentation": 1}, "SS"),
        ({"PixelPaddingValue": -2000, "PixelRepresentation": 0}, "SS"),
        ({"PixelPaddingValue": 63536, "PixelRepresentation": 1}, "US"),
        ({"PixelPaddingValue": None, "PixelRepresentation": 1}, "SS"),
    ],
)
def test_signedness_follows_the_pixels_unless_the_value_says_otherwise(
    own: dict[str, Any], vr: str
) -> None:
    element = read(own)["PixelPaddingValue"]
    assert (element.VR, element.value) == (vr, own["PixelPaddingValue"])


def test_signedness_comes_from_the_nearest_parent_that_has_it() -> None:
    dataset = read(
        {
            "PixelRepresentation": 1,
            "ModalityLUTSequence": [{"LUTDescriptor": [4, -8, 16], "LUTData": [1, 2, 3, 65535]}],
            "IconImageSequence": [{"PixelRepresentation": 0, "SmallestImagePixelValue": 1}],
        }
    )
    lut = dataset.ModalityLUTSequence[0]
    assert (lut["LUTDescriptor"].VR, list(lut.LUTDescriptor)) == ("SS", [4, -8, 16])
    assert (lut["LUTData"].VR, list(lut.LUTData)) == ("US", [1, 2, 3, 65535])
    assert dataset.IconImageSequence[0]["SmallestImagePixelValue"].VR == "US"


def test_a_lut_that_is_bytes_or_long_is_of_words() -> None:
    long = {"LUTDescriptor": [0, 0, 16], "LUTData": list(range(65536))}
    dataset = read({"VOILUTSequence": [long, {"LUTData": "AQACAA=="}]})
    first, second = dataset.VOILUTSequence
    assert (first["LUTData"].VR, second["LUTData"].VR) == ("OW", "OW")
    assert first.LUTData == struct.pack("<65536H", *range(65536))
    assert second.LUTData == struct.pack("<HH", 1, 2)


def test_an_unsigned_descriptor_of_signed_pixels_keeps_its_numbers() -> None:
    own = {"PixelRepresentation": 1, "RedPaletteColorLookupTableDescriptor": [65535, 0, 16]}
    element = read(own)["RedPaletteColorLookupTableDescriptor"]
    assert (element.VR, list(element.value)) == ("US", [65535, 0, 16])


def test_private_elements_have_the_vr_that_is_declared_at_any_depth() -> None:
    dataset = read(
        {
            "00190010": "MAKER",
            "00191001": "97",
            "00191002": [{"00190010": "MAKER", "00191003": [1.5, 2.5]}],
            "001910ff": "AQI=",
        },
        vrs={"00191001": "DS", "00191002": "SQ", "00191003": "FD", "001910FF": "OB"},
    )
    assert dataset[0x00190010].VR == "LO"
    assert (dataset[0x00191001].VR, dataset[0x00191001].value) == ("DS", 97)
    assert list(dataset[0x00191002].value[0][0x00191003].value) == [1.5, 2.5]
    assert dataset[0x001910FF].value == b"\x01\x02"


def test_private_elements_without_a_declared_vr_keep_their_value() -> None:
    own = {"00191001": "text", "00191002": [{"00191003": -7}], "00191004": 0.5}
    dataset = read(own)
    assert dataset[0x00191001].value == "text"
    assert dataset[0x00191002].value[0][0x00191003].value == -7
    assert dataset[0x00191004].value == 0.5


def test_repeating_groups_and_elements_newer_than_the_services_dictionary() -> None:
    dataset = read(
        {"60020010": 512, "60023000": "AAE=", "OverlayColumns": 3, "00189391": "FE"},
        vrs={"00189391": "CS"},
    )
    assert dataset[0x60020010].value == 512
    assert (dataset[0x60023000].VR, dataset[0x60023000].value) == ("OW", b"\x00\x01")
    assert dataset[0x60000011].value == 3
    assert dataset[0x00189391].value == "FE"


def test_ascii_text_keeps_its_character_set() -> None:
    assert read(
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "A"}
    ).SpecificCharacterSet == ("ISO_IR 100")
    assert "SpecificCharacterSet" not in read({"PatientName": "A"})


def test_other_text_is_utf_8_wherever_it_stands() -> None:
    dataset = read(
        {
            "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
            "StudyDescription": "plain",
            "RequestAttributesSequence": [
                {
                    "SpecificCharacterSet": "ISO_IR 144",
                    "ScheduledProcedureStepDescription": "Диагноз",
                }
            ],
        },
        {"PatientName": "Yamada^Tarou=山田^太郎"},
    )
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert dataset.PatientName == "Yamada^Tarou=山田^太郎"
    item = dataset.RequestAttributesSequence[0]
    assert item.SpecificCharacterSet == "ISO_IR 192"
    assert item.ScheduledProcedureStepDescription == "Диагноз"


@pytest.mark.parametrize("declared", ["ISO_IR 13", "no such set"])
def test_sets_in_which_ascii_means_something_else_are_left(declared: str) -> None:
    dataset = read({"SpecificCharacterSet": declared, "StudyDescription": "a~b"})
    assert (dataset.SpecificCharacterSet, dataset.StudyDescription) == ("ISO_IR 192", "a~b")


@pytest.mark.parametrize(
    "own",
    [
        {"Rows": "many"},
        {"Rows": 70000},
        {"Rows": True},
        {"ICCProfile": "not base64!"},
        {"FrameIncrementPointer": "nothing"},
        {"ReferencedStudySequence": ["text"]},
        {"StudyDescription": {"a": 1}},
        {"NoSuchKeyword": 1},
        {"EffectiveEchoTime": "fast"},
    ],
)
def test_what_is_no_value_fails_the_instance_with_the_elements_name(own: dict[str, Any]) -> None:
    with pytest.raises(DataSetUnreadable, match=next(iter(own))):
        read(own)


@pytest.mark.parametrize("depth", [33, 5000])
def test_sequences_do_not_nest_without_end(depth: int) -> None:
    nested: dict[str, Any] = {}
    for _ in range(depth):
        nested = {"ContentSequence": [nested]}
    with pytest.raises(DataSetUnreadable, match="nested"):
        read(nested)


def test_what_the_instance_before_had_is_not_made_anew() -> None:
    reader = ElementReader()
    patient = {"PatientName": "A", "PixelPaddingValue": 5}
    first = instance({"PixelRepresentation": 0, "SliceThickness": "1"}, patient).read(reader)
    second = instance({"PixelRepresentation": 0, "SliceThickness": "2"}, patient).read(reader)
    name, thickness = (first.dataset()[word].tag for word in ("PatientName", "SliceThickness"))
    assert first.elements[name] is second.elements[name]
    assert (first.elements[thickness].value, second.elements[thickness].value) == (b"1 ", b"2 ")


@pytest.mark.parametrize(
    ("own", "vrs", "word", "vr"),
    [
        ({"PixelRepresentation": 1}, {}, "PixelPaddingValue", "SS"),
        ({}, {"00280120": "SS"}, "PixelPaddingValue", "SS"),
        ({"StudyDescription": "é"}, {}, "SpecificCharacterSet", "CS"),
    ],
)
def test_what_else_an_instance_says_reaches_what_it_shares(
    own: dict[str, Any], vrs: dict[str, str], word: str, vr: str
) -> None:
    reader = ElementReader()
    patient = {"PixelPaddingValue": 5, "SpecificCharacterSet": "ISO_IR 100"}
    instance({"PixelRepresentation": 0}, patient).read(reader)
    element = instance(own, patient, vrs=vrs).read(reader).dataset()[word]
    assert vr == element.VR
    if vr == "CS":
        assert element.value == "ISO_IR 192"
