"""Frames encoded without loss in the two formats that a data store can have."""

from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from imagecodecs import HTJ2K

from gateway.testing.healthimaging.behaviour import StorageFormat

Pixels = npt.NDArray[Any]


def encoded(pixels: Pixels, storage_format: StorageFormat) -> bytes:
    """Return the codestream of one frame: (rows, columns[, samples]) contiguous integers.

    HTJ2K has RPCL progression, one tile-part for each resolution, and TLM markers that tell their
    lengths, so that the first bytes decode to a smaller image (ISO/IEC 15444-15). Samples are
    not mixed with each other: what is decoded is what Photometric Interpretation says.

    Raises:
        ValueError: JPEG 2000 cannot hold 32 bits without loss.
    """
    if storage_format is StorageFormat.HTJ2K:
        return bytes(
            imagecodecs.htj2k_encode(
                pixels,
                rgb=False,
                planar=False if pixels.ndim == 3 else None,
                reversible=True,
                tlm=True,
                tilepart=HTJ2K.TILEPART.RESOLUTIONS,
            )
        )
    if pixels.dtype.itemsize > 2:
        raise ValueError("JPEG 2000 frames have 16 bits for a sample at most")
    return bytes(
        imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, mct=False)
    )


def decoded(codestream: bytes, storage_format: StorageFormat) -> Pixels:
    """Return the pixels of a codestream that `encoded` made, in the same shape."""
    if storage_format is StorageFormat.HTJ2K:
        return np.asarray(imagecodecs.htj2k_decode(codestream, planar=False))
    return np.asarray(imagecodecs.jpeg2k_decode(codestream))
