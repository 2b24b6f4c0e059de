"""An instance read from an image set: as a data set of pydicom, and as a Part 10 file."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset

from gateway.dicom.part10 import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    file_header,
)
from gateway.dicom.uids import is_uid
from gateway.errors import GatewayError
from gateway.healthimaging.elements import InstanceElements, element
from gateway.healthimaging.values import element_header, encoded

_UNDEFINED_LENGTH = 0xFFFFFFFF
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Instance:
    """An instance whose frames are all there and verified."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    """How it is encoded here."""
    content: InstanceElements
    """Its elements, pixel data among them."""

    @property
    def size_bytes(self) -> int:
        """Bytes of its values."""
        return sum(len(one.value or b"") for one in self.content.elements.values())

    def dataset(self) -> Dataset:
        """Return it as a data set, with a file meta information that says how it is encoded.

        Values are made of the bytes as they are asked for, as pydicom does with files.
        """
        dataset = self.content.dataset()
        meta = FileMetaDataset({one.tag: one for one in self._file_meta()})
        meta.set_original_encoding(False, True)
        dataset.file_meta = meta
        return dataset

    def _file_meta(self) -> Iterator[DataElement | RawDataElement]:
        yield element(0x00020001, "OB", b"\x00\x01")
        yield element(0x00020002, "UI", encoded(self.sop_class_uid, "UI"))
        yield element(0x00020003, "UI", encoded(self.sop_instance_uid, "UI"))
        yield element(0x00020010, "UI", encoded(self.transfer_syntax_uid, "UI"))
        yield element(0x00020012, "UI", encoded(IMPLEMENTATION_CLASS_UID, "UI"))
        yield element(0x00020013, "SH", encoded(IMPLEMENTATION_VERSION_NAME, "SH"))

    def original_file_meta(self) -> Dataset:
        """Return group 0002 of the file that was imported: it describes that one, not this."""
        return Dataset({**self.content.file_meta})

    def part10(self) -> Iterator[bytes]:
        """Give the bytes of a Part 10 file, pixel data in one piece and uncopied."""
        yield file_header(self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax_uid)
        yield from self.encoded()

    def encoded(self) -> Iterator[bytes]:
        """Give the bytes of its data set, in Explicit VR Little Endian, without a file's header."""
        for _, one in sorted(self.content.elements.items()):
            yield element_header(one.tag, str(one.VR), one.length)
            yield one.value or b""
            if one.length == _UNDEFINED_LENGTH:
                yield _SEQUENCE_END

    def write(self, folder: Path) -> Path:
        """Write it as a Part 10 file to a folder, under its SOP Instance UID; return the path.

        The file is there whole or not at all. What is no UID never becomes a name: its digest
        does.
        """
        path = folder / f"{file_name(self.sop_instance_uid)}.dcm"
        with NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
            try:
                file.writelines(self.part10())
                file.close()
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        return path


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceFailure:
    """An instance that could not be read, and why; the others of its series can be."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    reason: GatewayError

    def __str__(self) -> str:
        return f"instance {self.sop_instance_uid}: {self.reason}"


def file_name(sop_instance_uid: str) -> str:
    """Return a name for an instance's file that stays in its folder, whatever the UID is."""
    if is_uid(sop_instance_uid):
        return sop_instance_uid
    return hashlib.sha256(sop_instance_uid.encode("utf-8", "replace")).hexdigest()


def with_elements(content: InstanceElements, added: list[RawDataElement]) -> InstanceElements:
    """Return elements with others in the place of those of the same tags."""
    return InstanceElements(
        elements=content.elements | {one.tag: one for one in added},
        file_meta=content.file_meta,
        encodings=content.encodings,
    )
