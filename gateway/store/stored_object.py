"""What names a file of the store: a digest of its content, so that equal instances are one file."""

import hashlib
from dataclasses import dataclass

from gateway.dicom.part10 import FileMeta


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """A Part 10 file in the object store."""

    key: str
    """SHA-256 over instance, transfer syntax and data set: equal instances share one file."""
    sha256: str
    """SHA-256 over the data set's bytes as received."""
    size_bytes: int
    """Length of the data set as received."""


def stored_object(meta: FileMeta, sha256: str, size_bytes: int) -> StoredObject:
    """Name a file's content, header included, so that one file never stands for two."""
    name = f"{meta.sop_instance_uid}\n{meta.transfer_syntax_uid}\n{sha256}"
    key = hashlib.sha256(name.encode()).hexdigest()
    return StoredObject(key=key, sha256=sha256, size_bytes=size_bytes)
