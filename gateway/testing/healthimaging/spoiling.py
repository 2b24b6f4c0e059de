"""A frame gone wrong on its way: it decodes, and its pixels are others."""

import numpy as np

from gateway.testing.healthimaging.behaviour import StorageFormat
from gateway.testing.healthimaging.codestreams import decoded, encoded


def spoiled(content: bytes, transfer_syntax_uid: str) -> bytes:
    """Return a frame of one other pixel, or of one other byte where frames are kept as they are."""
    for storage_format in StorageFormat:
        if storage_format.transfer_syntax_uid == transfer_syntax_uid:
            pixels = np.array(decoded(content, storage_format))
            pixels.flat[pixels.size // 2] ^= 1
            return encoded(pixels, storage_format)
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
