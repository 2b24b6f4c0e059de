"""Stored frames in the transfer syntax that a client asks for.

Source: HealthImaging developer guide, "Getting DICOM instances": without a wish it is Explicit VR
Little Endian; ``*`` and the stored one give what is stored; JPEG 2000 lossless can be had of all
that is stored without loss.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless

from gateway.testing.healthimaging.behaviour import StorageFormat
from gateway.testing.healthimaging.codestreams import Pixels, decoded, encoded
from gateway.testing.healthimaging.errors import NotAcceptableError
from gateway.testing.healthimaging.frames import is_transcoded
from gateway.testing.healthimaging.instances import DECODE_ERRORS, StoredInstance
from gateway.testing.healthimaging.storage import Storage

ANY = "*"
_NATIVE = str(ExplicitVRLittleEndian)
_LARGEST_OFFSET_TABLE_BYTES = 1 << 32
_MIXED_COLOUR = ("YBR_RCT", "YBR_ICT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendering:
    """An instance, and the transfer syntax that it is to be given in."""

    instance: StoredInstance
    transfer_syntax_uid: str
    storage: Storage

    @classmethod
    def of(cls, instance: StoredInstance, wanted: str, storage: Storage) -> "Rendering":
        """Choose for one wish: a UID or ``*``.

        Raises:
            NotAcceptableError: the instance cannot be had so.
        """
        stored = instance.stored_transfer_syntax_uid
        is_lossless = is_transcoded(stored) or stored == _NATIVE
        can_be_had = {
            ANY: stored,
            stored: stored,
            _NATIVE: stored if instance.blob else _NATIVE,
            **({str(JPEG2000Lossless): str(JPEG2000Lossless)} if is_transcoded(stored) else {}),
        }
        chosen = can_be_had.get(wanted)
        if chosen is None or (chosen == _NATIVE and not is_lossless and not _decodes(stored)):
            raise NotAcceptableError(
                f"the instance is stored as {stored}: ask for that, or for transfer-syntax=*"
            )
        return cls(instance=instance, transfer_syntax_uid=chosen, storage=storage)

    def frames(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """Give frames by their numbers, from 1.

        Raises:
            NotAcceptableError: they cannot be decoded.
        """
        stored = self.instance.stored_transfer_syntax_uid
        for number in numbers:
            content = self.storage.get(self.instance.frames[number - 1].identifier)
            if self.transfer_syntax_uid == stored:
                yield content
                continue
            pixels = self._pixels(content)
            if self.transfer_syntax_uid == _NATIVE:
                yield _native(pixels, is_bits=_is_bits(self.instance.elements))
            else:
                yield encoded(pixels, StorageFormat.JPEG_2000_LOSSLESS)

    def file(self) -> bytes:
        """Return the instance as a DICOM file.

        Raises:
            NotAcceptableError: its frames cannot be decoded.
        """
        if self.instance.blob is not None:
            return self.storage.get(self.instance.blob)
        dataset = _explicit(self.instance.elements)
        dataset.file_meta.TransferSyntaxUID = UID(self.transfer_syntax_uid)
        if self.instance.frames:
            self._put_frames(dataset)
        output = BytesIO()
        dataset.save_as(output, implicit_vr=False, little_endian=True, enforce_file_format=True)
        return output.getvalue()

    def _put_frames(self, dataset: Dataset) -> None:
        contents = list(self.frames(range(1, len(self.instance.frames) + 1)))
        stored = self.instance.stored_transfer_syntax_uid
        is_kept = self.transfer_syntax_uid == stored and not is_transcoded(stored)
        if dataset.get("SamplesPerPixel", 1) > 1 and not is_kept:
            dataset.PlanarConfiguration = 0
            dataset.PhotometricInterpretation = self._decoded_colour()
        if UID(self.transfer_syntax_uid).is_encapsulated:
            _encapsulate(dataset, contents)
        else:
            _put_native(dataset, self.instance.pixel_keyword, contents)

    def _decoded_colour(self) -> str:
        """Return the Photometric Interpretation of frames that were decoded."""
        stored = self.instance.stored_transfer_syntax_uid
        named = self.instance.text("PhotometricInterpretation")
        is_lossy = UID(stored).is_encapsulated and not is_transcoded(stored)
        if named in _MIXED_COLOUR or (is_lossy and named.startswith("YBR")):
            return "RGB"
        return "YBR_FULL" if named == "YBR_FULL_422" else named

    def _pixels(self, content: bytes) -> Pixels:
        stored = self.instance.stored_transfer_syntax_uid
        for storage_format in StorageFormat:
            if storage_format.transfer_syntax_uid == stored:
                return decoded(content, storage_format)
        try:
            return _decoded_by_pydicom(self.instance.elements, stored, content)
        except DECODE_ERRORS as error:
            raise NotAcceptableError(f"frames of {stored} were not decoded") from error


def _decodes(stored: str) -> bool:
    """Tell whether frames that are kept as they are can be decoded."""
    return stored in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203")


def _decoded_by_pydicom(elements: Dataset, stored: str, content: bytes) -> Pixels:
    single = deepcopy(elements)
    single.file_meta.TransferSyntaxUID = UID(stored)
    single.NumberOfFrames = 1
    single.PixelData = encapsulate([content])
    return np.asarray(next(iter_pixels(single)))


def _is_bits(dataset: Dataset) -> bool:
    return bool(dataset.get("BitsAllocated") == 1)


def _native(pixels: Pixels, *, is_bits: bool) -> bytes:
    if is_bits:
        return np.packbits(pixels.ravel() != 0, bitorder="little").tobytes()
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _joined_bits(dataset: Dataset, contents: Sequence[bytes]) -> bytes:
    """Return frames of one bit behind each other, not each from a byte of its own on."""
    count = int(dataset.Rows) * int(dataset.Columns)
    frames = [
        np.unpackbits(np.frombuffer(one, np.uint8), count=count, bitorder="little")
        for one in contents
    ]
    return np.packbits(np.concatenate(frames), bitorder="little").tobytes()


def _put_native(dataset: Dataset, keyword: str, contents: Sequence[bytes]) -> None:
    joined = _joined_bits(dataset, contents) if _is_bits(dataset) else b"".join(contents)
    setattr(dataset, keyword, joined + b"\0" * (len(joined) % 2))
    if keyword == "PixelData":
        dataset["PixelData"].VR = "OB" if dataset.get("BitsAllocated", 16) <= 8 else "OW"


def _encapsulate(dataset: Dataset, contents: Sequence[bytes]) -> None:
    if sum(map(len, contents)) < _LARGEST_OFFSET_TABLE_BYTES:
        dataset.PixelData = encapsulate(list(contents))
    else:
        pixel_data, offsets, lengths = encapsulate_extended(list(contents))
        dataset.PixelData = pixel_data
        dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def _explicit(elements: Dataset) -> Dataset:
    """Return a copy that can be written in Explicit VR Little Endian.

    Values whose bytes cannot go out as they came in are parsed for it.
    """
    copy = deepcopy(elements)
    if copy.original_encoding == (False, True):
        return copy
    for _ in copy.iterall():
        pass
    fresh = Dataset({tag: copy[tag] for tag in list(copy.keys())})
    fresh.file_meta = copy.file_meta
    return fresh
