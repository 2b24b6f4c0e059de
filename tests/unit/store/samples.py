"""Small instances that tests of receiving, keeping and sending share."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

from pydicom import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gateway.store import Offer, Origin

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = str(ExplicitVRLittleEndian)
IMPLICIT = str(ImplicitVRLittleEndian)
BIG_ENDIAN = str(ExplicitVRBigEndian)
DEFLATED = str(DeflatedExplicitVRLittleEndian)
STUDY = "2.25.1"
SERIES = "2.25.2"
PATIENT = "Mustermann^Erika"
PATIENT_ID = "PID-4711"

# An odd length, which the standard forbids and scanners write all the same.
ODD_PRIVATE_ELEMENT = struct.pack("<HH2s2xI", 0x7FE1, 0x1001, b"OB", 5) + b"\x01\x02\x03\x04\x05"


def encoded(
    transfer_syntax_uid: str = EXPLICIT,
    *,
    change: Callable[[Dataset], object] | None = None,
    **values: str,
) -> bytes:
    """Encode a small CT data set; ``values`` overwrite attributes."""
    data_set = Dataset()
    data_set.SOPClassUID = CT
    data_set.SOPInstanceUID = "2.25.3"
    data_set.Modality = "CT"
    data_set.PatientName = PATIENT
    data_set.PatientID = PATIENT_ID
    data_set.StudyInstanceUID = STUDY
    data_set.SeriesInstanceUID = SERIES
    data_set.SeriesDescription = "Abdomen"
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    if change is not None:
        change(data_set)
    buffer = BytesIO()
    write_dataset_to(buffer, data_set, transfer_syntax_uid)
    content = buffer.getvalue()
    return deflated(content) if transfer_syntax_uid == DEFLATED else content


def write_dataset_to(buffer: BytesIO, data_set: Dataset, transfer_syntax_uid: str) -> None:
    """Write a data set in the encoding of a transfer syntax, without any header."""
    file = DicomIO(buffer)
    file.is_implicit_VR = transfer_syntax_uid == IMPLICIT
    file.is_little_endian = transfer_syntax_uid != BIG_ENDIAN
    write_dataset(file, data_set)


def deflated(content: bytes) -> bytes:
    """Compress as PS3.5 section A.5 says: without zlib's header."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def offer(
    number: int = 1,
    *,
    series: str = SERIES,
    sop_class_uid: str = CT,
    transfer_syntax_uid: str = EXPLICIT,
    **values: str,
) -> Offer:
    """Offer the ``number``-th instance of a series."""
    sop_instance_uid = f"{series}.{number}"
    return Offer(
        data_set=encoded(
            transfer_syntax_uid,
            SOPClassUID=sop_class_uid,
            SOPInstanceUID=sop_instance_uid,
            SeriesInstanceUID=series,
            change=None,
            **values,
        ),
        transfer_syntax_uid=transfer_syntax_uid,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
    )


def origin(association_id: str | None = None, *, source: str = "c-store") -> Origin:
    """Say that a CT sent it."""
    return Origin(
        calling_ae="CT1", called_ae="GATEWAY", source=source, association_id=association_id
    )
