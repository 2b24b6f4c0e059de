"""What names an instance, read from bytes that anybody may have sent."""

import random
import time
import tracemalloc
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from gateway.dicom.elements import first_values, tolerant_values
from gateway.dicom.header import InstanceHeader, read_header
from gateway.dicom.uids import is_uid
from gateway.errors import DataSetUnreadable
from tests.peers.corpus import Corpus, is_part10
from tests.peers.raw import read_part10
from tests.unit.store.samples import (
    BIG_ENDIAN,
    CT,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ODD_PRIVATE_ELEMENT,
    PATIENT,
    PATIENT_ID,
    SERIES,
    STUDY,
    deflated,
    encoded,
)

SYNTAXES = (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, "1.2.840.10008.1.2.4.90", "1.2.3.4")
UIDS = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")


def read_or_refused(content: bytes, syntax: str) -> InstanceHeader | None:
    """Read a header as a receiver does; a refusal is the only error that may come of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read_header(content, syntax, sop_class_uid=CT, sop_instance_uid="2.25.3")
        except DataSetUnreadable:
            return None


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_the_header_is_read_in_every_encoding(syntax: str) -> None:
    header = read_header(encoded(syntax), syntax)

    assert (header.sop_instance_uid, header.sop_class_uid) == ("2.25.3", CT)
    assert (header.study_instance_uid, header.series_instance_uid) == (STUDY, SERIES)
    assert header.modality == "CT"
    assert header.study["patient_name"] == PATIENT
    assert header.study["patient_id"] == PATIENT_ID
    assert header.series["series_description"] == "Abdomen"
    assert header.images_in_acquisition is None


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "Müller^Jürgen=山田^太郎"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_text_is_read_in_its_own_character_set(character_set: str, name: str) -> None:
    content = encoded(SpecificCharacterSet=character_set, PatientName=name)
    assert read_header(content, EXPLICIT).study["patient_name"] == name


def test_an_unknown_character_set_costs_the_letters_and_not_the_instance() -> None:
    content = encoded().replace(b"PID", b"P\xffD")

    header = read_header(content, EXPLICIT)

    assert header.sop_instance_uid == "2.25.3"
    assert header.study["patient_id"] == "PÿD-4711"


def test_the_number_of_images_in_the_acquisition_is_read() -> None:
    content = encoded(ImagesInAcquisition="120")
    assert read_header(content, EXPLICIT).images_in_acquisition == 120


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_what_stands_behind_nested_sequences_is_read(syntax: str, undefined: bool) -> None:
    def nest(data_set: Dataset) -> None:
        inner, outer = Dataset(), Dataset()
        inner.ReferencedSOPInstanceUID = "2.25.9"
        outer.PurposeOfReferenceCodeSequence = [inner, inner]
        data_set.ReferencedStudySequence = [outer, Dataset()]
        for holder in (
            data_set["ReferencedStudySequence"],
            outer["PurposeOfReferenceCodeSequence"],
        ):
            holder.is_undefined_length = undefined
            for item in holder.value:
                item.is_undefined_length_sequence_item = undefined

    content = encoded(syntax, change=nest)
    wanted = frozenset({0x0020000E})

    assert first_values(content, syntax, wanted, 0x0020000E) == tolerant_values(
        content, syntax, wanted, 0x0020000E
    )
    assert read_header(content, syntax).series_instance_uid == SERIES


def test_the_beginning_of_a_data_set_is_enough() -> None:
    content = encoded() + ODD_PRIVATE_ELEMENT + bytes(100_000)
    assert read_header(memoryview(content)[:2000], EXPLICIT).series_instance_uid == SERIES


def test_an_unknown_transfer_syntax_is_read_as_explicit_little_endian() -> None:
    header = read_header(encoded(EXPLICIT), "1.2.840.113619.99.1")
    assert header.series_instance_uid == SERIES


def test_pixel_data_may_be_cut_off_or_absurd() -> None:
    broken_pixels = encoded() + b"\xe0\x7f\x10\x00OW\x00\x00\xf0\xff\xff\xff" + b"\x00" * 10
    assert read_header(broken_pixels, EXPLICIT).sop_instance_uid == "2.25.3"


def test_a_modality_is_not_needed() -> None:
    def without_modality(data_set: Dataset) -> None:
        del data_set.Modality

    assert read_header(encoded(change=without_modality), EXPLICIT).modality == ""


@pytest.mark.parametrize("keyword", UIDS)
def test_a_missing_uid_is_refused_by_name(keyword: str) -> None:
    with pytest.raises(DataSetUnreadable, match=r"UID \(00.* is missing"):
        read_header(encoded(change=lambda data_set: delattr(data_set, keyword)), EXPLICIT)


@pytest.mark.parametrize("keyword", UIDS)
@pytest.mark.parametrize("text", ["../../etc/passwd", "1.2.x", "1" * 65, "1.2\\3.4", "1..2", "ä"])
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_malformed_uid_is_refused_by_name(keyword: str, text: str) -> None:
    content = encoded(
        change=lambda data_set: setattr(data_set, keyword, "9" * len(text.encode()))
    ).replace(b"9" * len(text.encode()), text.encode())
    with pytest.raises(DataSetUnreadable, match=r"UID \(00.* is malformed"):
        read_header(content, EXPLICIT)


@pytest.mark.parametrize("empty", ["", "\0\0"])
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_names_that_the_data_set_leaves_empty_are_taken_from_the_command(empty: str) -> None:
    content = encoded(SOPInstanceUID=empty, SOPClassUID=empty)

    header = read_header(content, EXPLICIT, sop_class_uid=CT, sop_instance_uid="2.25.77")

    assert (header.sop_class_uid, header.sop_instance_uid) == (CT, "2.25.77")


def test_names_in_the_data_set_stand_before_those_of_the_command() -> None:
    header = read_header(encoded(), EXPLICIT, sop_class_uid="1.2", sop_instance_uid="2.25.77")
    assert (header.sop_class_uid, header.sop_instance_uid) == (CT, "2.25.3")


def test_study_and_series_are_never_made_up() -> None:
    with pytest.raises(DataSetUnreadable, match="Series Instance UID"):
        read_header(
            encoded(SeriesInstanceUID=""), EXPLICIT, sop_class_uid=CT, sop_instance_uid="2.25.77"
        )


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"this is not DICOM", b"\xff" * 1000, b"\0" * 1000, b"\x89PNG\r\n\x1a\n" * 9],
    ids=["nothing", "a-byte", "text", "ones", "zeros", "png"],
)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_bytes_that_are_no_data_set_are_refused(content: bytes, syntax: str) -> None:
    assert read_or_refused(content, syntax) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(SYNTAXES))
def test_random_bytes_are_read_or_refused(content: bytes, syntax: str) -> None:
    read_or_refused(content, syntax)


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(SYNTAXES[:4]),
    st.sampled_from(SYNTAXES),
    st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=6)), max_size=4),
    st.integers(0, 300),
)
def test_a_damaged_data_set_is_read_or_refused(
    written: str, claimed: str, damages: list[tuple[int, bytes]], cut: int
) -> None:
    content = bytearray(encoded(written))
    for start, damage in damages:
        start %= len(content)
        content[start : start + len(damage)] = damage
    header = read_or_refused(bytes(content[: len(content) - cut // 3]), claimed)
    if header is not None:
        names = (header.sop_instance_uid, header.series_instance_uid, header.study_instance_uid)
        assert all(map(is_uid, names))


def test_sequences_nested_without_end_are_refused() -> None:
    item = b"\x08\x00\x15\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    assert read_or_refused(item * 20_000, EXPLICIT) is None


def costs(work: Callable[[], object]) -> tuple[float, int]:
    """Return seconds and peak bytes."""
    tracemalloc.start()
    begun = time.perf_counter()
    work()
    seconds, peak = time.perf_counter() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak


def test_a_deflate_bomb_costs_little_memory_and_time() -> None:
    text = b"\x08\x00\x05\x00UT\x00\x00" + (1 << 28).to_bytes(4, "little")
    bomb = deflated(text + bytes(1 << 28))
    assert len(bomb) < 1 << 19

    seconds, peak = costs(lambda: read_or_refused(bomb, DEFLATED))

    assert peak < 16 << 20
    assert seconds < 2


def test_a_length_that_promises_gigabytes_allocates_none() -> None:
    lying = b"\x08\x00\x05\x00UT\x00\x00\xfe\xff\xff\xff" + bytes(100)

    seconds, peak = costs(lambda: read_or_refused(lying, EXPLICIT))

    assert peak < 16 << 20
    assert seconds < 2


def test_reading_the_header_of_a_large_instance_does_not_copy_it() -> None:
    large = encoded() + b"\xe0\x7f\x10\x00OW\x00\x00\x00\x00\x00\x04" + random.randbytes(1 << 26)

    seconds, peak = costs(lambda: read_header(large, EXPLICIT))

    assert peak < 16 << 20
    assert seconds < 1


@pytest.mark.corpus
def test_every_real_file_is_read_or_refused(corpus: Corpus) -> None:
    paths = [path for path in sorted(corpus.root.rglob("*")) if is_part10(path)]
    read = 0
    for path in paths:
        item = read_part10(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                header = read_header(
                    item.data_set,
                    item.transfer_syntax_uid,
                    sop_class_uid=item.sop_class_uid,
                    sop_instance_uid=item.sop_instance_uid,
                )
            except DataSetUnreadable:
                continue
        read += 1
        data_set = dcmread(path, stop_before_pixels=True)
        assert header.sop_instance_uid == data_set.get("SOPInstanceUID", item.sop_instance_uid)
        assert header.series_instance_uid == data_set.SeriesInstanceUID
        assert header.study_instance_uid == data_set.StudyInstanceUID
    # A few de-identified files have lost the UIDs of their study or series.
    assert read > 0.7 * len(paths)
