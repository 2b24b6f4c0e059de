"""Objects that hold what is seldom, or at least differs by maker, one concern each."""

from collections.abc import Callable, Mapping
from io import BytesIO
from types import MappingProxyType

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from gateway.dicom.part10 import file_header

RANDOM = np.random.default_rng(7)


def _object(sop_class: UID = CTImageStorage, **values: object) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    dataset.PatientName, dataset.PatientID = "Phantom", "P1"
    dataset.Modality, dataset.InstanceNumber = "CT", "1"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _image(pixels: np.ndarray, photometric: str = "MONOCHROME2", **values: object) -> Dataset:
    is_colour = photometric not in ("MONOCHROME2", "PALETTE COLOR")
    bits = pixels.dtype.itemsize * 8
    rows, columns = pixels.shape[-3:-1] if is_colour else pixels.shape[-2:]
    module = {
        "SamplesPerPixel": 3 if is_colour else 1,
        "PhotometricInterpretation": photometric,
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if is_colour:
        module["PlanarConfiguration"] = 0
    dataset = _object(SecondaryCaptureImageStorage, **module)
    content = pixels.tobytes()
    dataset.add_new(0x7FE00010, "OW" if bits > 8 else "OB", content + bytes(len(content) % 2))
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _file(dataset: Dataset) -> bytes:
    output = BytesIO()
    dataset.save_as(output, enforce_file_format=True)
    return output.getvalue()


def _raw_file(dataset: Dataset, appended: bytes = b"", before: bytes = b"") -> bytes:
    """Return a file with bytes that pydicom would not write, put around the elements."""
    syntax = dataset.file_meta.TransferSyntaxUID
    output = DicomBytesIO()
    output.is_little_endian, output.is_implicit_VR = True, syntax == ImplicitVRLittleEndian
    write_dataset(output, dataset)
    header = file_header(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), str(syntax))
    return header + before + output.getvalue() + appended


def _every_value() -> bytes:
    dataset = _object()
    dataset.FrameIncrementPointer = [0x00181063, 0x00181065]
    dataset.SelectorATValue = 0x00100010
    dataset.SelectorUSValue = [1, 65535]
    dataset.SelectorSVValue = [-(2**63), 2**63 - 1]
    dataset.SelectorUVValue = [2**64 - 1, 0]
    dataset.SelectorOVValue = bytes(range(16))
    dataset.SelectorODValue = bytes(range(16))
    dataset.SelectorOFValue = bytes(range(8))
    dataset.SelectorOLValue = bytes(range(8))
    dataset.SelectorFLValue = [0.5, -0.25]
    dataset.SelectorFDValue = 1 / 3
    dataset.SelectorSLValue = [-(2**31), 2**31 - 1]
    dataset.SelectorULValue = 2**32 - 1
    dataset.SelectorSSValue = [-32768, 32767]
    dataset.SelectorUCValue = ["A", "B C"]
    dataset.SelectorURValue = "urn:oid:1.2?a=b"
    dataset.SelectorUTValue = "one\\line and \\ another"
    dataset.SelectorSTValue = " leading space"
    dataset.SelectorUNValue = b"\0\1"
    dataset.PatientBirthDate = ""
    dataset.RescaleSlope = None
    dataset.WindowCenter = ["40", "-600.00"]
    dataset.ContentDate, dataset.ContentTime = "20260102", "101112.123456"
    dataset.DateTime = "20260102101112.5+0100"
    dataset.PatientAge = "007D"
    return _file(dataset)


def _numbers_in_text() -> bytes:
    """Every digit, sign, exponent and space of DS and IS."""
    dataset = _object()
    dataset.add_new(0x00200032, "DS", ["-120.50", "+1.0E+01", "-2.625000"])
    dataset.add_new(0x00280030, "DS", ["0.25", "0.250000000000000"])
    return _raw_file(dataset, b"\x08\x30\x22\x00IS\x04\x00 07 ")


def _sequences() -> bytes:
    dataset = _object()
    dataset.ReferencedStudySequence = []
    dataset.SourceImageSequence = [Dataset()]
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "1", "one"
    item.add_new(0x00420011, "OB", b"\0\1")
    parent = Dataset()
    parent.ConceptNameCodeSequence, parent.ContentSequence = [item], [Dataset(), item]
    dataset.AcquisitionContextSequence = [parent]
    return _file(dataset)


def _private() -> bytes:
    dataset = _object()
    block = dataset.private_block(0x0019, "MAKER 1", create=True)
    inner = Dataset()
    nested = inner.private_block(0x0021, "MAKER 2", create=True)
    nested.add_new(0x01, "FD", [1.5, 2.5])
    nested.add_new(0x02, "UN", b"\0\1\2\3")
    nested.add_new(0x03, "SQ", [])
    block.add_new(0x01, "DS", ["1.50", "2"])
    block.add_new(0x02, "SQ", [inner, Dataset()])
    block.add_new(0x03, "OB", bytes(10))
    block.add_new(0x04, "LO", "")
    return _file(dataset)


def _private_implicit() -> bytes:
    dataset = _object()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.private_block(0x0019, "MAKER 1", create=True).add_new(0x01, "UN", b"text")
    return _file(dataset)


def _overlay() -> bytes:
    dataset = _image(RANDOM.integers(0, 4096, (8, 8)).astype("u2"))
    dataset.add_new(0x60020010, "US", 8)
    dataset.add_new(0x60020050, "SS", [-1, 1])
    dataset.add_new(0x60023000, "OB", bytes(range(8)))
    dataset.add_new(0x60043000, "OW", bytes(range(8)))
    return _file(dataset)


def _group_length() -> bytes:
    return _raw_file(_object(), before=b"\x08\x00\x00\x00UL\x04\x00\x00\x01\x00\x00")


def _character_sets() -> bytes:
    dataset = _object(SpecificCharacterSet=["", "ISO 2022 IR 87"])
    dataset.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 144"
    item.ScheduledProcedureStepDescription = "Люкceмбypг"  # noqa: RUF001 - Cyrillic is meant
    dataset.RequestAttributesSequence = [item]
    return _file(dataset)


def _undecodable() -> bytes:
    dataset = _object(SpecificCharacterSet="ISO_IR 192")
    return _raw_file(dataset, b"\x20\x00\x00\x40LT\x04\x00a\xe9b ")


def _padding() -> bytes:
    return _raw_file(_object(), b"\x08\x00\x30\x10LO\x06\x00text  ")


def _undeclared_signs() -> bytes:
    dataset = _object()
    dataset.add_new(0x00280106, "SS", 5)
    lut = Dataset()
    lut.add_new(0x00283002, "US", [3, 65535, 16])
    lut.add_new(0x00283006, "US", [0, 1, 65535])
    wide = Dataset()
    wide.add_new(0x00283002, "SS", [4, -8, 16])
    wide.add_new(0x00283006, "OW", bytes(range(8)))
    dataset.ModalityLUTSequence, dataset.VOILUTSequence = [lut], [wide]
    return _file(dataset)


def _open_bytes() -> bytes:
    dataset = _object()
    dataset.add_new(0x00143050, "OB", bytes(range(6)))
    item = Dataset()
    item.WaveformBitsAllocated, item.WaveformSampleInterpretation = 8, "UB"
    item.add_new(0x54001010, "OB", bytes(range(6)))
    dataset.WaveformSequence = [item]
    return _file(dataset)


def _icon() -> bytes:
    icon = Dataset()
    icon.Rows = icon.Columns = 2
    icon.add_new(0x7FE00010, "OB", bytes(4))
    return _file(_object(IconImageSequence=[icon]))


def _long_value() -> bytes:
    dataset = _object()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.add_new(0x3006_0050, "DS", ["-12.50"] * 12_000)
    return _file(dataset)


def _report() -> bytes:
    dataset = _object(EnhancedSRStorage, Modality="SR", ValueType="CONTAINER")
    item = Dataset()
    item.ValueType, item.TextValue, item.RelationshipType = "TEXT", "a finding", "CONTAINS"
    dataset.ContentSequence = [item]
    return _file(dataset)


def _signed() -> bytes:
    pixels = RANDOM.integers(-2048, 2048, (5, 7)).astype("i2")
    return _file(_image(pixels, PixelPaddingValue=-2048, SmallestImagePixelValue=-2048))


def _dirty_bits() -> bytes:
    pixels = RANDOM.integers(0, 65536, (8, 8)).astype("u2").view("i2")
    return _file(_image(pixels, BitsStored=12, HighBit=11))


def _narrow() -> bytes:
    dataset = _image(RANDOM.integers(0, 256, (5, 5)).astype("u1"))
    dataset["PixelData"].VR = "OW"
    return _file(dataset)


def _colour_by_plane() -> bytes:
    pixels = RANDOM.integers(0, 256, (6, 8, 3)).astype("u1")
    dataset = _image(pixels, "RGB", PlanarConfiguration=1)
    dataset.PixelData = np.moveaxis(pixels, -1, 0).tobytes()
    return _file(dataset)


def _subsampled() -> bytes:
    pixels = RANDOM.integers(0, 256, (6, 8, 3)).astype("u1")
    dataset = _image(pixels, "YBR_FULL_422")
    dataset.PixelData = RANDOM.integers(0, 256, 6 * 8 * 2).astype("u1").tobytes()
    return _file(dataset)


def _palette() -> bytes:
    dataset = _image(RANDOM.integers(0, 256, (6, 8)).astype("u1"), "PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", bytes(512))
    return _file(dataset)


def _rle() -> bytes:
    dataset = _image(RANDOM.integers(0, 9, (3, 8, 8)).astype("u2"), NumberOfFrames="3")
    dataset.compress(RLELossless, generate_instance_uid=False)
    return _file(dataset)


def _jpeg() -> bytes:
    dataset = _image(np.zeros((8, 8), "u1"), NumberOfFrames="2")
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([b"\xff\xd8odd\xff\xd9", b"\xff\xd8even\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    return _file(dataset)


def _binary() -> bytes:
    bits = RANDOM.integers(0, 2, (3, 5, 5)).astype("u1")
    dataset = _image(bits, NumberOfFrames="3", BitsAllocated=1, BitsStored=1, HighBit=0)
    dataset.SOPClassUID = SegmentationStorage
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    dataset.PixelData = packed[:-1] + bytes([packed[-1] | 0xF8]) if len(packed) == 10 else packed
    return _file(dataset)


OBJECTS: Mapping[str, Callable[[], bytes]] = MappingProxyType(
    {
        "every value representation": _every_value,
        "numbers in text": _numbers_in_text,
        "sequences": _sequences,
        "private elements": _private,
        "private elements of unknown VR": _private_implicit,
        "overlays": _overlay,
        "group lengths": _group_length,
        "character sets": _character_sets,
        "padded text": _padding,
        "undecodable text": _undecodable,
        "open signedness": _undeclared_signs,
        "bytes that may be words": _open_bytes,
        "an icon": _icon,
        "a long value": _long_value,
        "a report": _report,
        "signed pixels": _signed,
        "dirty upper bits": _dirty_bits,
        "bytes as words": _narrow,
        "colour by plane": _colour_by_plane,
        "subsampled colour": _subsampled,
        "a palette": _palette,
        "RLE of several frames": _rle,
        "JPEG of two frames": _jpeg,
        "a binary segmentation": _binary,
    }
)
"""Files by what they are about."""


def two_positions() -> list[bytes]:
    """Return two instances of a series that say otherwise of what a series has in common."""
    first = _object(PatientPosition="HFS", Laterality="L")
    second = _object(PatientPosition="FFS", SOPInstanceUID="1.2.3.5", InstanceNumber="2")
    return [_file(first), _file(second)]
