"""Small CT instances by the thousand, without a library's cost for each."""

import hashlib
import random
import struct
import uuid
from dataclasses import dataclass

from tests.peers.raw import Part10
from tests.peers.wire import uid

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
CT_CONTEXT = (CT, EXPLICIT)
PATIENT = "Mustermann^Erika"
PATIENT_ID = "PID-4711"


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesNames:
    """The UIDs of a series and of the instances in it."""

    study_instance_uid: str
    series_instance_uid: str

    def instance(self, number: int) -> str:
        """Return the SOP Instance UID of an instance of the series."""
        return f"{self.series_instance_uid}.{number}"


def new_series() -> SeriesNames:
    """Return names that no series had before."""
    root = f"2.25.{uuid.uuid4().int}"
    return SeriesNames(study_instance_uid=root, series_instance_uid=f"{root}.1")


def ct(names: SeriesNames, number: int, *, size_bytes: int = 4000) -> Part10:
    """Return an instance whose pixels, of about this length, follow from its name."""
    sop_instance_uid = names.instance(number)
    pixels = random.Random(sop_instance_uid).randbytes(size_bytes & ~1)
    return Part10(
        sop_class_uid=CT,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=EXPLICIT,
        data_set=header(names, sop_instance_uid, number) + pixel_data(pixels),
    )


def header(names: SeriesNames, sop_instance_uid: str, number: int) -> bytes:
    """Encode the attributes before the pixels in explicit VR little endian."""
    return b"".join(
        [
            element(0x0008, 0x0016, b"UI", uid(CT)),
            element(0x0008, 0x0018, b"UI", uid(sop_instance_uid)),
            element(0x0008, 0x0020, b"DA", b"20240131"),
            element(0x0008, 0x0060, b"CS", b"CT"),
            element(0x0010, 0x0010, b"PN", PATIENT.encode()),
            element(0x0010, 0x0020, b"LO", PATIENT_ID.encode()),
            element(0x0020, 0x000D, b"UI", uid(names.study_instance_uid)),
            element(0x0020, 0x000E, b"UI", uid(names.series_instance_uid)),
            element(0x0020, 0x0013, b"IS", str(number).encode()),
        ]
    )


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element with a short length (PS3.5 section 7.1.2), padded to an even one."""
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def pixel_data(pixels: bytes) -> bytes:
    """Encode Pixel Data with its long length."""
    return struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", len(pixels)) + pixels


def sha256(item: Part10) -> str:
    """Return the digest that the node must have of an instance."""
    return hashlib.sha256(item.data_set).hexdigest()
