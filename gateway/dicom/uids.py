"""Unique identifiers: which texts are one, and how the gateway derives its own."""

import hashlib
import re
import uuid

DICOM_ROOT = "1.2.840.10008."
"""What the UIDs begin with that DICOM itself registers (PS3.6 annex A)."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def is_uid(text: str) -> bool:
    """Return whether ``text`` can stand for an object (PS3.5 section 9.1).

    Leading zeros in a component are let through, as equipment in the field sends them.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def derived_uid(*parts: str) -> str:
    """Return the UID under 2.25 that these parts always give (PS3.5 section B.2).

    The number is a version 8 UUID (RFC 9562) made of a SHA-256 digest, so that a repeated
    job names its results exactly as the first attempt did.
    """
    return uid_of_digest(hashlib.sha256("\x1f".join(parts).encode()).digest())


def uid_of_digest(digest: bytes) -> str:
    """Return the UID under 2.25 of a digest's first 16 bytes, as a version 8 UUID (RFC 9562)."""
    value = bytearray(digest[:16])
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    return f"2.25.{uuid.UUID(bytes=bytes(value)).int}"
