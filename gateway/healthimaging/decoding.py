"""Frames of JPEG 2000 and High-Throughput JPEG 2000 decoded into the place that they belong.

OpenJPH and OpenJPEG, as imagecodecs has them, work without Python's lock: threads suffice.
"""

from collections.abc import Iterator
from typing import cast

import imagecodecs
import numpy as np
import numpy.typing as npt

from gateway.errors import FrameUnreadable
from gateway.healthimaging.codestream import Codestream, read_codestream
from gateway.healthimaging.frame_layout import FrameLayout

_DECODER_ERRORS = (MemoryError, RuntimeError, TypeError, ValueError)


def decode_frame(
    frame: bytes, layout: FrameLayout, target: npt.NDArray[np.integer], checksum: int | None
) -> Codestream:
    """Decode a frame into ``target``, an array of the layout's shape and type.

    ``checksum`` is the CRC32 of the decoded frame, None where there is none to compare.

    Raises:
        FrameUnreadable: the frame is of another size, is broken, or has another checksum.
    """
    codestream = read_codestream(frame)
    _require_fitting(codestream, layout)
    own = _decoder_dtype(codestream)
    if own.itemsize == target.dtype.itemsize:
        samples = target.view(own)
        _decode(frame, codestream, samples)
    else:
        samples = np.empty(layout.shape, own)
        _decode(frame, codestream, samples)
        target[...] = samples.astype(target.dtype)
    if checksum is not None and checksum not in _checksums(target, samples):
        raise FrameUnreadable("its checksum (CRC32) is not that of its decoded pixels")
    return codestream


def crc32(content: bytes | npt.NDArray[np.integer]) -> int:
    """Return the CRC-32 of bytes or samples; libdeflate's takes a fifth of zlib's time."""
    return int(imagecodecs.deflate_crc32(cast(bytes, content)))


def _require_fitting(codestream: Codestream, layout: FrameLayout) -> None:
    found = (codestream.height, codestream.width, codestream.components)
    wanted = (layout.rows, layout.columns, layout.samples)
    if found != wanted:
        raise FrameUnreadable(
            "its codestream has {} rows, {} columns and {} components".format(*found)
            + ", and the pixel module {}, {} and {}".format(*wanted)
        )


def _decoder_dtype(codestream: Codestream) -> np.dtype[np.integer]:
    """Return what the decoders give: the smallest type that holds a sample."""
    size = 1 if codestream.bits <= 8 else 2 if codestream.bits <= 16 else 4
    return np.dtype(f"{'i' if codestream.is_signed else 'u'}{size}")


def _decode(frame: bytes, codestream: Codestream, samples: npt.NDArray[np.integer]) -> None:
    try:
        if not codestream.is_high_throughput:
            imagecodecs.jpeg2k_decode(frame, out=samples)
        elif samples.ndim == 3:
            imagecodecs.htj2k_decode(frame, planar=False, out=samples)
        else:
            imagecodecs.htj2k_decode(frame, out=samples)
    except _DECODER_ERRORS as error:
        raise FrameUnreadable(
            f"it cannot be decoded ({type(error).__name__}: {str(error)[:100]})"
        ) from error


def _checksums(target: npt.NDArray[np.integer], samples: npt.NDArray[np.integer]) -> Iterator[int]:
    """Give the checksums that a frame may have.

    It is not documented whether samples of few bits count with all that are allocated for them,
    nor whether colour counts by pixel or by plane.
    """
    arrays = [target] if samples.dtype.itemsize == target.dtype.itemsize else [target, samples]
    for array in arrays:
        yield crc32(array)
    for array in arrays:
        if array.ndim == 3:
            yield crc32(np.ascontiguousarray(np.moveaxis(array, -1, 0)))
