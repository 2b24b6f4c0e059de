"""Image set metadata and frames, made by hand from the service's documentation."""

import zlib
from collections.abc import Mapping
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from gateway.healthimaging.metadata import ImageFrame, InstanceMetadata

UIDS = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": "1.2.3"}


def instance(
    own: Mapping[str, Any],
    *shared: Mapping[str, Any],
    stored: str = "",
    frames: int = 0,
    vrs: Mapping[str, str] | None = None,
) -> InstanceMetadata:
    """Return the metadata of one instance."""
    return InstanceMetadata(
        study_instance_uid="1.2",
        series_instance_uid="1.2.1",
        sop_instance_uid="1.2.3",
        own={**UIDS, **own},
        shared=shared,
        vrs=vrs or {},
        stored_transfer_syntax_uid=stored,
        frames=(ImageFrame(frame_id="f" * 32, checksum=None),) * frames,
    )


def image(
    pixels: npt.NDArray[Any], *, bits_allocated: int = 0, frames: int = 1, **more: Any
) -> InstanceMetadata:
    """Return the metadata of an image whose frames look like ``pixels``."""
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    stored = str(more.pop("stored", ""))
    module = {
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": "RGB" if samples == 3 else "MONOCHROME2",
        "BitsAllocated": bits_allocated or pixels.dtype.itemsize * 8,
        "BitsStored": bits_allocated or pixels.dtype.itemsize * 8,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "NumberOfFrames": str(frames),
    }
    frames = int(more.pop("frames_stored", frames))
    return instance(module | more, stored=stored, frames=frames)


def htj2k(pixels: npt.NDArray[Any]) -> bytes:
    """Encode a frame without loss as the service does."""
    return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))


def crc32(pixels: npt.NDArray[Any]) -> int:
    """Return the checksum of a decoded frame."""
    return zlib.crc32(np.ascontiguousarray(pixels).tobytes())
