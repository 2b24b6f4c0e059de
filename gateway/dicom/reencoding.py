"""The same data set in the other of the two uncompressed little endian transfer syntaxes."""

from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.dicom.data_set import encoded_data_set
from gateway.dicom.elements import PARSE_ERRORS, read_elements
from gateway.dicom.part10 import seek_data_set
from gateway.errors import DataSetUnreadable

REENCODABLE = frozenset({str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian)})
"""Transfer syntaxes that differ in how elements are written, not in what pixel data is."""


def reencoded(path: Path, transfer_syntax_uid: str, wanted_uid: str) -> bytes:
    """Return the data set of a Part 10 file in the ``wanted_uid`` of `REENCODABLE`.

    Values stay as they are; from implicit VR, private elements become UN (PS3.5 section 6.2.2).
    All of it is in memory.

    Raises:
        DataSetUnreadable: the data set is none in its own transfer syntax.
    """
    with path.open("rb") as file:
        seek_data_set(file)
        content = file.read()
    try:
        return encoded_data_set(read_elements(content, transfer_syntax_uid), wanted_uid)
    except PARSE_ERRORS as error:
        raise DataSetUnreadable(
            f"the data set cannot be written in another transfer syntax ({type(error).__name__})"
        ) from error
