"""Whether an instance is really here: found in the index, read from disk, its digest compared."""

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from gateway.errors import DataSetUnreadable
from gateway.store.instances import InstanceIndex
from gateway.store.objects import ObjectStore


class FailureReason(IntEnum):
    """Why an instance cannot be committed to (PS3.3 section C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    """It is here and damaged, or its file cannot be read."""
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    """It is not here."""
    CLASS_INSTANCE_CONFLICT = 0x0119
    """It is here, as an instance of another class."""
    DUPLICATE_TRANSACTION_UID = 0x0131
    """Another request under this Transaction UID has no answer yet."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Reference:
    """A reference to one instance (PS3.3 table 10-11)."""

    sop_class_uid: str
    sop_instance_uid: str


class Verifier:
    """Verifies references against the bytes on disk."""

    def __init__(self, instances: InstanceIndex, objects: ObjectStore) -> None:
        self._instances = instances
        self._objects = objects

    def verify(self, reference: Reference) -> FailureReason | None:
        """Return why an instance cannot be committed to, or nothing where it can be.

        Its data set is read from disk, and must have the SHA-256 of the one that was received.
        """
        instance = self._instances.current(reference.sop_instance_uid)
        if instance is None:
            return FailureReason.NO_SUCH_OBJECT_INSTANCE
        if instance.sop_class_uid != reference.sop_class_uid:
            return FailureReason.CLASS_INSTANCE_CONFLICT
        try:
            with self._objects.open_data_set(instance.object_key) as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return FailureReason.NO_SUCH_OBJECT_INSTANCE
        except (OSError, DataSetUnreadable):
            return FailureReason.PROCESSING_FAILURE
        return None if sha256 == instance.sha256 else FailureReason.PROCESSING_FAILURE
