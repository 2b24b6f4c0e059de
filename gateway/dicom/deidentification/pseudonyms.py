"""Pseudonyms of patients and UIDs: the same ones always, for whoever has the key."""

import hmac
from base64 import b32encode
from dataclasses import dataclass
from typing import Final

from pydicom import config as pydicom_config
from pydicom.uid import UID

from gateway.dicom.uids import uid_of_digest

KEY_BYTES: Final = 32
_PATIENT_BYTES: Final = 10
_LEAST_DAYS: Final = 365
_SPREAD_DAYS: Final = 3650


@dataclass(frozen=True, kw_only=True, slots=True)
class PatientKey:
    """What tells one patient from all others."""

    patient_id: str
    issuer: str = ""
    study_instance_uid: str = ""
    """Stands for the patient where there is no Patient ID: nothing says then that two studies
    are of one person."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The texts that name the patient."""
        if self.patient_id:
            return ("id", self.patient_id, self.issuer)
        return ("study", self.study_instance_uid)


class Pseudonyms:
    """Keyed hashes (HMAC-SHA-256) of what names a patient or an object.

    Without the key nobody can tell from a pseudonym what it stands for, nor whether a guess is
    right; another key gives others.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def uid(self, uid: str) -> str:
        """Return the pseudonym of a UID; those that DICOM itself registers stand for nobody."""
        return uid if is_registered(uid) else uid_of_digest(self._digest("uid", uid))

    def returned_uid(self, uid: str) -> str:
        """Return the UID that an object made of pseudonyms has where patients have their names.

        Its content is another one there, and so must its name be (PS3.3 section C.12.1).
        """
        return uid if is_registered(uid) else uid_of_digest(self._digest("returned", uid))

    def patient(self, patient: PatientKey) -> str:
        """Return the Patient ID that stands for a patient: 16 letters and digits."""
        return b32encode(self._digest("patient", *patient.parts)[:_PATIENT_BYTES]).decode("ascii")

    def days(self, patient: PatientKey) -> int:
        """Return by how many days all dates of a patient move into the past: 1 to 11 years."""
        number = int.from_bytes(self._digest("days", *patient.parts)[:8], "big")
        return _LEAST_DAYS + number % _SPREAD_DAYS

    def _digest(self, *parts: str) -> bytes:
        return hmac.digest(self._key, "\x1f".join(parts).encode(), "sha256")


def is_registered(uid: str) -> bool:
    """Tell whether DICOM registers a UID (PS3.6 annex A), as it does well-known frames."""
    return bool(UID(uid, pydicom_config.IGNORE).type)
