"""Whole data sets: read from their bytes, pixel data and all, and written again."""

import zlib
from io import BytesIO
from typing import Final

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from gateway.dicom.elements import PARSE_ERRORS
from gateway.errors import DataSetUnreadable

_INFLATED_LIMIT_BYTES: Final = 1 << 31
"""What a deflated data set may hold: as much as an element of it may."""


def read_data_set(content: bytes, transfer_syntax_uid: str) -> Dataset:
    """Read all of an encoded data set; values stay bytes until they are asked for.

    Raises:
        DataSetUnreadable: the bytes are no data set, or a deflated one of more than 2 GiB.
    """
    try:
        return read_dataset(
            BytesIO(_inflated(content, transfer_syntax_uid)),
            is_implicit_VR=transfer_syntax_uid == ImplicitVRLittleEndian,
            is_little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
        )
    except PARSE_ERRORS as error:
        raise DataSetUnreadable(f"the bytes are no data set ({type(error).__name__})") from error


def encoded_data_set(dataset: Dataset, transfer_syntax_uid: str) -> bytes:
    """Encode a data set; values that nobody asked for are written as they were read.

    Raises one of `PARSE_ERRORS` where a value cannot be encoded.
    """
    output = DicomBytesIO()
    output.is_little_endian = transfer_syntax_uid != ExplicitVRBigEndian
    output.is_implicit_VR = transfer_syntax_uid == ImplicitVRLittleEndian
    write_dataset(output, dataset)
    encoded = output.getvalue()
    return _deflated(encoded) if transfer_syntax_uid == DeflatedExplicitVRLittleEndian else encoded


def _inflated(content: bytes, transfer_syntax_uid: str) -> bytes:
    if transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return content
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(content, _INFLATED_LIMIT_BYTES)
    if inflater.unconsumed_tail:
        raise DataSetUnreadable("the deflated data set holds more than 2 GiB")
    return inflated


def _deflated(content: bytes) -> bytes:
    """Deflate a data set, padded to an even length (PS3.5 section A.5)."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = compressor.compress(content) + compressor.flush()
    return deflated + bytes(len(deflated) % 2)
