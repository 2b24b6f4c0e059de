"""Instances of the corpus and of pydicom, as the gateway keeps them."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from gateway.dicom.data_set import encoded_data_set
from gateway.dicom.deidentification import KeptInstance
from gateway.dicom.part10 import seek_data_set
from gateway.errors import DataSetUnreadable
from tests.peers.corpus import is_part10


def kept_file(path: Path) -> KeptInstance | None:
    """Return a Part 10 file as the node keeps it; nothing where it has no whole header."""
    content = path.read_bytes()
    file = BytesIO(content)
    try:
        seek_data_set(file)
    except DataSetUnreadable:
        return None
    meta = dcmread(path, stop_before_pixels=True).file_meta
    return KeptInstance(
        data_set=file.read(),
        transfer_syntax_uid=str(meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)),
        sop_class_uid=str(meta.get("MediaStorageSOPClassUID", "")),
        sop_instance_uid=str(meta.get("MediaStorageSOPInstanceUID", "")),
    )


def kept_files(root: Path) -> Iterator[tuple[Path, KeptInstance]]:
    """Give all instances below a folder."""
    for path in sorted(root.rglob("*")):
        kept = kept_file(path) if is_part10(path) else None
        if kept is not None:
            yield path, kept


def kept(dataset: Dataset, transfer_syntax_uid: str = str(ExplicitVRLittleEndian)) -> KeptInstance:
    return KeptInstance(
        data_set=encoded_data_set(dataset, transfer_syntax_uid),
        transfer_syntax_uid=transfer_syntax_uid,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
    )
