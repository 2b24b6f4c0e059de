"""A sender that puts a file's own bytes on the wire, whatever they are and whatever it claims."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.association import Association


@dataclass(frozen=True, kw_only=True, slots=True)
class Part10:
    """A file's name for itself, and its data set's bytes."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A C-STORE response; without one the status is None."""

    status: int | None
    comment: str = ""


def read_part10(path: Path) -> Part10:
    """Read a DICOM file without touching its data set."""
    with path.open("rb") as file:
        assert file.read(132)[128:] == b"DICM", f"{path} is no DICOM file"
        meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
        return Part10(
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
            data_set=file.read(),
        )


def to_send(path: Path) -> Part10:
    """Read a file as a sender does: its name is what its data set says.

    Some de-identification tools change only one of the two names.
    """
    item = read_part10(path)
    instance = dcmread(path, stop_before_pixels=True)
    return Part10(
        sop_class_uid=str(instance.SOPClassUID),
        sop_instance_uid=str(instance.SOPInstanceUID),
        transfer_syntax_uid=item.transfer_syntax_uid,
        data_set=item.data_set,
    )


def send(port: int, objects: Sequence[Part10], *, calling: str = "MODALITY") -> list[Answer]:
    """Send objects in their own transfer syntaxes over one association."""
    contexts = {(item.sop_class_uid, item.transfer_syntax_uid) for item in objects}
    with association(port, sorted(contexts), calling=calling) as open_association:
        return [
            store(open_association, item, message_id=number)
            for number, item in enumerate(objects, start=1)
        ]


@contextmanager
def association(
    port: int, contexts: Sequence[tuple[str, str]], *, calling: str = "MODALITY"
) -> Iterator[Association]:
    """Open an association that proposes each (class, transfer syntax) alone, and release it."""
    # A file's bytes go as they are; otherwise pynetdicom would parse and write them anew.
    _config.STORE_SEND_CHUNKED_DATASET = True
    entity = AE(ae_title=calling)
    entity.dimse_timeout = 60
    for sop_class_uid, transfer_syntax_uid in contexts:
        entity.add_requested_context(sop_class_uid, transfer_syntax_uid)
    opened = entity.associate("127.0.0.1", port, ae_title="GATEWAY")
    assert opened.is_established, "the gateway did not take the association"
    try:
        yield opened
    finally:
        if opened.is_established:
            opened.release()


def store(opened: Association, item: Part10, *, message_id: int = 1) -> Answer:
    """Send one object with C-STORE (PS3.7 section 9.1.1) and wait for the response."""
    with as_file(item) as path:
        status = opened.send_c_store(path, msg_id=message_id)
    return Answer(status=status.get("Status"), comment=str(status.get("ErrorComment", "")))


@contextmanager
def as_file(item: Part10) -> Iterator[Path]:
    """Write an object as a DICOM file that goes away."""
    with NamedTemporaryFile(suffix=".dcm") as file:
        file.write(bytes(128) + b"DICM")
        meta = DicomBytesIO()
        write_file_meta_info(meta, _meta(item), enforce_standard=False)
        file.write(meta.getvalue() + item.data_set)
        file.flush()
        yield Path(file.name)


def _meta(item: Part10) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(item.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(item.sop_instance_uid)
    meta.TransferSyntaxUID = UID(item.transfer_syntax_uid)
    return meta


def series_uid(item: Part10) -> str:
    """Read the Series Instance UID of an encoded data set."""
    with as_file(item) as path:
        return str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID)


def changed(path: Path, target: Path, **values: str | None) -> Part10:
    """Write a copy of a DICOM file with attributes changed, or with None removed; read it."""
    instance = dcmread(path)
    for keyword, value in values.items():
        if value is None:
            del instance[keyword]
        else:
            setattr(instance, keyword, value)
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    instance.save_as(target, enforce_file_format=True)
    return read_part10(target)


def changed_uids(paths: Sequence[Path], series_instance_uid: str) -> list[Part10]:
    """Read files as another series, with instances of its own."""
    with TemporaryDirectory() as folder:
        return [
            changed(
                path,
                Path(folder) / path.name,
                SeriesInstanceUID=series_instance_uid,
                SOPInstanceUID=f"{series_instance_uid}.{number}",
            )
            for number, path in enumerate(paths, start=1)
        ]
