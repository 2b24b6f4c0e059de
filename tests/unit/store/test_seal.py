"""The seal in a file's header: right for the whole file as it was written, and for nothing else."""

import hashlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicom.part10 import FileMeta, read_file_meta
from gateway.store.origin import Origin
from gateway.store.seal import header_to_seal, sealed, sealed_origin
from tests.unit.store.samples import CT, EXPLICIT, origin

META = FileMeta(sop_class_uid=CT, sop_instance_uid="2.25.3", transfer_syntax_uid=EXPLICIT)
DIGEST = hashlib.sha256(b"data set").digest()


def origin_in(header: bytes, digest: bytes = DIGEST) -> Origin | None:
    return sealed_origin(header, read_file_meta(BytesIO(header)), digest)


@pytest.mark.parametrize("source", ["c-store", "stow", "result", "the-cloud-of-research", "Köln"])
def test_a_sealed_header_tells_where_the_instance_came_from(source: str) -> None:
    header = sealed(header_to_seal(META, origin(source=source)), DIGEST)
    assert origin_in(header) == origin(source=source)


def test_sealing_changes_no_length() -> None:
    header = header_to_seal(META, origin())
    assert len(sealed(header, DIGEST)) == len(header)


def test_without_a_seal_nothing_is_told() -> None:
    assert origin_in(header_to_seal(META, origin())) is None


def test_the_seal_of_another_data_set_is_wrong() -> None:
    header = sealed(header_to_seal(META, origin()), DIGEST)
    assert origin_in(header, hashlib.sha256(b"data se").digest()) is None


@given(st.integers(min_value=144), st.integers(min_value=1, max_value=255))
def test_a_header_of_which_one_byte_is_another_has_none(place: int, change: int) -> None:
    header = bytearray(sealed(header_to_seal(META, origin()), DIGEST))
    header[144 + place % (len(header) - 144)] ^= change
    assert origin_in(bytes(header)) is None
