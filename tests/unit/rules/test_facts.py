"""Facts are read from data sets as they are, whatever is wrong in them."""

import io
import warnings
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.tag import BaseTag, Tag

from gateway.rules.facts import Columns, SeriesFacts, attributes
from gateway.rules.subjects import subject

ROWS, SLICE_THICKNESS, IMAGE_TYPE = 0x00280010, 0x00180050, 0x00080008

CT_SMALL = Path(str(get_testdata_file("CT_small.dcm")))


def raw(tag: int, vr: str | None, content: bytes) -> Dataset:
    element = RawDataElement(BaseTag(tag), vr, len(content), content, 0, vr is None, True)
    dataset = Dataset()
    dataset.update({BaseTag(tag): element})
    return dataset


def test_a_file_and_a_data_set_in_memory_give_the_same_facts() -> None:
    from_file = dcmread(CT_SMALL)
    converted = dcmread(CT_SMALL)
    converted.decode()  # pydicom converts each element
    assert attributes(from_file) == attributes(converted)
    facts = attributes(from_file)
    assert facts[ROWS] == (128,)
    assert facts[0x00080060] == ("CT",)
    assert 0x7FE00010 not in facts


@pytest.mark.parametrize(
    ("tag", "vr", "content", "values"),
    [
        (SLICE_THICKNESS, "DS", b"5.0 ", (5.0,)),
        (SLICE_THICKNESS, "DS", b"thick ", ("thick",)),
        (SLICE_THICKNESS, None, b"5.0 ", (5.0,)),
        (SLICE_THICKNESS, "UN", b"5.0 ", (5.0,)),
        (IMAGE_TYPE, "CS", b"ORIGINAL\\PRIMARY\\\\X ", ("ORIGINAL", "PRIMARY", "", "X")),
        (IMAGE_TYPE, "CS", b"", ()),
        (IMAGE_TYPE, "CS", b"\xff\xfe", ("\xff\xfe",)),
        (ROWS, "US", b"\x00\x02", (512,)),
        (ROWS, "US", b"\x00", ()),
        (0x00100010, "PN", "Müller".encode("latin-1"), ("Müller",)),
        (0x00081140, "SQ", b"\xfe\xff\x00\xe0\x00\x00\x00\x00", (1,)),
    ],
)
def test_values_are_taken_as_they_are(
    tag: int, vr: str | None, content: bytes, values: tuple[object, ...]
) -> None:
    assert attributes(raw(tag, vr, content)) == {tag: values}


def test_text_is_read_in_the_character_set_of_its_data_set() -> None:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SeriesDescription = "Schädel 1\u00b5"
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    read = read_dataset(io.BytesIO(stream.getvalue()), False, True)
    assert attributes(read)[0x0008103E] == ("Schädel 1\u00b5",)


def test_only_the_wanted_tags_are_read() -> None:
    dataset = dcmread(CT_SMALL)
    facts = SeriesFacts.from_datasets([dataset], tags=[ROWS, 0x00400275])
    assert facts.instances == ({ROWS: (128,)},)


def test_private_and_bulk_attributes_are_left_out() -> None:
    dataset = Dataset()
    dataset.add_new(Tag(0x0009, 0x0010), "LO", "CREATOR")
    dataset.add_new(Tag(0x7FE0, 0x0010), "OW", b"\0\0")
    dataset.Modality = "CT"
    assert attributes(dataset) == {0x00080060: ("CT",)}


@pytest.mark.parametrize(
    ("cosines", "values"),
    [
        ((1, 0, 0, 0, 1, 0), ("axial",)),
        ((0, 1, 0, 0, 0, -1), ("sagittal",)),
        ((1, 0, 0, 0, 0, -1), ("coronal",)),
        (("1", "0", "0", "0", "1", "0"), ("axial",)),
        ((1, 0, 0), ()),
        (("a", "b", "c", "d", "e", "f"), ()),
        ((0, 0, 0, 0, 0, 0), ()),
        ((), ()),
    ],
)
def test_orientation_comes_from_the_direction_cosines(
    cosines: tuple[float, ...], values: tuple[str, ...]
) -> None:
    columns = Columns(facts=SeriesFacts(instances=[{0x00200037: cosines}]))
    assert columns[subject("orientation")] == {values: 1}


def test_values_of_all_instances_are_counted() -> None:
    instances = [{ROWS: (512,)}, {ROWS: (512,)}, {ROWS: (256,)}, {}]
    columns = Columns(facts=SeriesFacts(instances=instances, calling_ae="CT1"))
    assert columns[subject("Rows")] == {(512,): 2, (256,): 1, (): 1}
    assert columns[subject("instances")] == {(4,): 1}
    assert columns[subject("calling_ae")] == {("CT1",): 1}
    assert columns[subject("source")] == {(): 1}


def test_facts_of_every_test_file_of_pydicom_are_read() -> None:
    for name in CT_SMALL.parent.glob("*.dcm"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom tells of what is wrong in the file
            dataset = dcmread(name, force=True)
        attributes(dataset)
