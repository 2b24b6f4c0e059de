"""Metadata in the form of the service: what each value looks like, and at which level it stands."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from gateway.testing.healthimaging import Behaviour
from gateway.testing.healthimaging.description import Describer, Description
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.testing.healthimaging.datasets import changed, example, file_of

Open = Callable[[Behaviour], Cloud]


@pytest.fixture
def cloud_with(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Open clouds that behave in some way."""
    with ExitStack() as running:
        yield lambda behaviour: running.enter_context(
            open_cloud(tmp_path_factory.mktemp("cloud"), behaviour=behaviour)
        )


def described(dataset: Dataset, **options: Any) -> Description:
    return Describer(**options).describe(dcmread(BytesIO(file_of(dataset))))


def values(dataset: Dataset, **options: Any) -> dict[str, Any]:
    return dict(described(dataset, **options).elements)


def metadata(cloud: Cloud, files: list[bytes]) -> dict[str, Any]:
    return cloud.metadata(cloud.import_files(files)[0].image_set_id)


def test_numbers_in_text_stay_text_with_their_padding(phantom: list[Dataset]) -> None:
    found = values(changed(phantom[0], SliceThickness="2.50", WindowCenter=["40", "-600"]))
    assert found["SliceThickness"] == "2.50"
    assert found["WindowCenter"] == ["40", "-600 "]
    assert found["SeriesNumber"] == "1 "


@pytest.mark.parametrize(("keeps", "expected"), [(False, "ABC"), (True, "ABC ")])
def test_other_text_keeps_its_padding_on_demand(
    phantom: list[Dataset], keeps: bool, expected: str
) -> None:
    found = values(changed(phantom[0], PatientID="ABC"), keeps_text_padding=keeps)
    assert found["PatientID"] == expected


def test_values_of_several_are_lists_and_empty_ones_null(phantom: list[Dataset]) -> None:
    found = values(changed(phantom[0], ImageType="ORIGINAL", PatientBirthDate="", Rows=64))
    assert found["ImageType"] == ["ORIGINAL"]
    assert found["PatientBirthDate"] is None
    assert found["Rows"] == 64


def test_binary_numbers_are_numbers_and_tags_hexadecimal(phantom: list[Dataset]) -> None:
    dataset = changed(phantom[0])
    dataset.FrameIncrementPointer = 0x00181063
    dataset.PixelAspectRatio = [1, 2]
    dataset.TagSpacingFirstDimension = 1.5
    dataset.ReferencePixelX0 = -3
    found = values(dataset)
    assert found["FrameIncrementPointer"] == ["00181063"]
    assert found["TagSpacingFirstDimension"] == 1.5
    assert found["ReferencePixelX0"] == -3


@pytest.mark.parametrize(("representation", "value"), [(0, 65535), (1, -1)])
def test_words_of_either_sign_follow_the_pixel_representation(
    phantom: list[Dataset], representation: int, value: int
) -> None:
    dataset = changed(phantom[0], PixelRepresentation=representation)
    dataset.add_new(0x00280120, "SS" if representation else "US", value)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    output = BytesIO()
    dataset.save_as(output, implicit_vr=True, little_endian=True, enforce_file_format=True)
    found = Describer().describe(dcmread(BytesIO(output.getvalue())))
    assert found.elements["PixelPaddingValue"] == value


def test_big_endian_numbers_are_the_same(phantom: list[Dataset]) -> None:
    little = values(example("MR_small.dcm"))
    big = values(example("MR_small_bigendian.dcm"))
    names = ("Rows", "Columns", "BitsAllocated", "SmallestImagePixelValue", "PixelSpacing")
    assert {name: little.get(name) for name in names} == {name: big.get(name) for name in names}
    assert example("MR_small_bigendian.dcm").file_meta.TransferSyntaxUID == ExplicitVRBigEndian


def test_private_elements_are_hexadecimal_with_their_vrs(phantom: list[Dataset]) -> None:
    dataset = changed(phantom[0])
    dataset.add_new(0x00190010, "LO", "EXAMPLE PRIVATE")
    dataset.add_new(0x001910F9, "DS", "97")
    dataset.add_new(0x001910FA, "OB", b"\1\2")
    item = Dataset()
    item.add_new(0x00190010, "LO", "EXAMPLE PRIVATE")
    item.add_new(0x00191001, "FD", 0.5)
    dataset.add_new(0x001910FB, "SQ", [item])
    found = described(dataset)
    assert found.elements["001910F9"] == "97"
    assert found.elements["001910FA"] == base64.b64encode(b"\1\2").decode()
    assert found.elements["001910FB"] == [{"00190010": "EXAMPLE PRIVATE", "00191001": 0.5}]
    assert found.vrs == {
        "00190010": "LO",
        "001910F9": "DS",
        "001910FA": "OB",
        "001910FB": "SQ",
        "00191001": "FD",
    }


def test_what_the_dictionary_lacks_is_hexadecimal_too(phantom: list[Dataset]) -> None:
    dataset = changed(phantom[0])
    dataset.add_new(0x60000010, "US", 64)
    found = described(dataset, unknown_keywords=frozenset({"KVP"}))
    assert found.elements["60000010"] == 64
    assert found.elements["00180060"] == "120 "
    assert found.vrs == {"00180060": "DS", "60000010": "US"}


def test_sequences_are_lists_of_items(phantom: list[Dataset]) -> None:
    dataset = changed(phantom[0], SourceImageSequence=[], ReferencedImageSequence=[Dataset()])
    dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    found = values(dataset)
    assert found["ReferencedImageSequence"] == [{"ReferencedSOPInstanceUID": "1.2.3"}]
    assert found["SourceImageSequence"] == []


def test_text_of_other_character_sets_is_unicode(phantom: list[Dataset]) -> None:
    dataset = changed(
        phantom[0],
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName="Yamada^Tarou=山田^太郎",
    )
    found = values(dataset)
    assert found["PatientName"] == "Yamada^Tarou=山田^太郎"
    assert found["SpecificCharacterSet"] == ["", "ISO 2022 IR 87"]


def test_file_meta_information_is_mixed_in(phantom: list[Dataset]) -> None:
    found = values(phantom[0])
    assert found["FileMetaInformationVersion"] == "AAE="
    assert found["TransferSyntaxUID"] == "1.2.840.10008.1.2.1"
    assert "PixelData" not in found


def test_levels_hold_what_instances_have_in_common(
    cloud_with: Open, phantom: list[Dataset]
) -> None:
    extra = {"PatientAge": "042Y", "Laterality": "L", "PatientComments": "none"}
    files = [file_of(changed(one, **extra)) for one in phantom]
    tree = metadata(cloud_with(Behaviour()), files)
    assert (tree["SchemaVersion"], len(tree["DatastoreID"]), len(tree["ImageSetID"])) == (
        "1.1",
        32,
        32,
    )
    assert tree["Patient"]["DICOM"]["PatientComments"] == "none"
    assert tree["Study"]["DICOM"]["PatientAge"] == "042Y"
    ((uid, series),) = tree["Study"]["Series"].items()
    assert uid == series["DICOM"]["SeriesInstanceUID"] == phantom[0].SeriesInstanceUID
    assert series["DICOM"]["Laterality"] == "L"
    above = {
        *tree["Patient"]["DICOM"],
        *tree["Study"]["DICOM"],
        *series["DICOM"],
    }
    for instance in series["Instances"].values():
        assert not above & set(instance["DICOM"])
        assert instance["DICOMVRs"] == {}


def test_undocumented_forms_can_be_had(cloud_with: Open, phantom_files: list[bytes]) -> None:
    tree = metadata(
        cloud_with(Behaviour(compresses_metadata=False, nulls_pixel_data=True)), phantom_files
    )
    (series,) = tree["Study"]["Series"].values()
    assert all(one["DICOM"]["PixelData"] is None for one in series["Instances"].values())


def test_metadata_of_a_fresh_image_set_may_get_409(
    cloud_with: Open, phantom_files: list[bytes]
) -> None:
    cloud = cloud_with(Behaviour(processing_seconds=3600))
    with pytest.raises(ClientError, match="ConflictException"):
        metadata(cloud, phantom_files)
