"""The seal in a file's header: it shows that the file is whole, and tells where it came from.

It stands in the Private Information of the file meta information (PS3.10 section 7.1): the name of
the door, then SHA-256 over the header before it and the data set's own SHA-256. A file whose last
bytes never reached the disk, or whose header did not, has none that is right.
"""

import hashlib

from gateway.dicom.part10 import FileMeta, file_header
from gateway.store.origin import Origin

_LEAST_DOOR_BYTES = 16
_SEAL_BYTES = 32


def header_to_seal(meta: FileMeta, origin: Origin) -> bytes:
    """Return the header of an instance that is about to arrive, with room for its seal."""
    door = origin.source.encode().ljust(_LEAST_DOOR_BYTES)
    return file_header(
        meta.sop_class_uid,
        meta.sop_instance_uid,
        meta.transfer_syntax_uid,
        sending_ae=origin.calling_ae,
        receiving_ae=origin.called_ae,
        # Of even length, as all values are (PS3.5 section 7.1).
        private=door + b" " * (len(door) % 2) + bytes(_SEAL_BYTES),
    )


def sealed(header: bytes, digest: bytes) -> bytes:
    """Return the header with the seal of a data set of this SHA-256."""
    content = header[:-_SEAL_BYTES]
    return content + hashlib.sha256(content + digest).digest()


def sealed_origin(header: bytes, meta: FileMeta, digest: bytes) -> Origin | None:
    """Return where a file came from, or nothing where its seal is missing or wrong."""
    is_long_enough = len(meta.private) >= _LEAST_DOOR_BYTES + _SEAL_BYTES
    if not is_long_enough or sealed(header, digest) != header:
        return None
    return Origin(
        calling_ae=meta.sending_ae,
        called_ae=meta.receiving_ae,
        source=meta.private[:-_SEAL_BYTES].decode("utf-8", "replace").rstrip(),
    )
