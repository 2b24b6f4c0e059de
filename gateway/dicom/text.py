"""Text of DICOM attributes: out of its character set, and folded for comparison."""

import unicodedata

from pydicom.charset import decode_bytes, python_encoding
from pydicom.valuerep import TEXT_VR_DELIMS

_COMBINING_MARKS = range(0x0300, 0x0370)
_ESCAPE = b"\x1b"


def decoded(raw: bytes, character_set: str) -> str:
    """Return the text of encoded bytes, by what Specific Character Set (0008,0005) declares.

    An unknown set or a wrong byte gives replacement characters, never an error
    (PS3.5 section 6.1).
    """
    if raw.isascii() and _ESCAPE not in raw:
        return raw.decode("ascii")
    terms = [term.strip() for term in character_set.split("\\")]
    encodings = [python_encoding.get(term, "ascii") for term in terms]
    if _ESCAPE in raw:
        return decode_bytes(raw, encodings, TEXT_VR_DELIMS)
    return raw.decode(encodings[0], "replace")


def folded(text: str) -> str:
    """Return text without case and without the accents of Latin, Greek and Cyrillic letters.

    What is equal after it may stand for one name: ``MÜLLER`` and ``muller`` do.
    """
    spread = unicodedata.normalize("NFKD", text)
    bare = "".join(one for one in spread if ord(one) not in _COMBINING_MARKS)
    return unicodedata.normalize("NFC", bare).casefold()
