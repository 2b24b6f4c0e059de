"""What the result objects of one volume have in common: names, dates, makers and sources."""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import SEEK_END, BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence, ContributingEquipment
from highdicom.sr import CodedConcept as HighdicomConcept
from pydicom import Dataset, dcmwrite
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import DT

from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from gateway.dicom.uids import derived_uid
from gateway.inference.bundle import Model
from gateway.inference.descriptor import CodedConcept, Output, SegmentAttributes
from gateway.inference.forms import Form, MadeObject, form_of
from gateway.inference.sources import MAY_BE_EMPTY
from gateway.inference.volume import SeriesVolume

MANUFACTURER = "Gateway"
MANUFACTURER_MODEL_NAME = "DICOM gateway"

# Beside its source: series 3 becomes 10003, 11003 and so on, one number for each kind of object.
_SERIES_NUMBERS_APART = 1000
_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_PIXEL_DATA = (0x7FE0, 0x0010)
_BITS_OF_BYTES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultIdentity:
    """What names a result and dates it.

    The UIDs of the result follow from ``input_digest`` (of the instances that were segmented),
    the model, ``rule`` and, after the first, ``revision`` (of the series); its bytes from these
    and from ``created``, ``software_version`` (the gateway's), ``device_serial_number`` (the
    node's AE title) and ``predecessors``, which are the objects of the last earlier revision.
    ``created`` is local time without a time zone, as DICOM dates and times are.
    """

    input_digest: str
    rule: str
    created: datetime
    software_version: str
    device_serial_number: str
    revision: int = 1
    predecessors: tuple[MadeObject, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SegmentedVolume:
    """A volume with what a model said of it, on the slices of its sources.

    ``label_map`` is (slices, rows, columns). ``probabilities``, from a model that gives them,
    is (segments in the order of their labels, slices, rows, columns) in uint8, 255 for certain.
    ``forms`` are all that objects are made in.
    """

    volume: SeriesVolume
    label_map: npt.NDArray[Any]
    model: Model
    identity: ResultIdentity
    probabilities: npt.NDArray[np.uint8] | None = None
    forms: tuple[Form, ...] = ()

    @property
    def prefix(self) -> tuple[str, ...]:
        """What the UIDs of this result are derived from."""
        identity = self.identity
        revision = [f"revision {identity.revision}"] if identity.revision > 1 else []
        part = [self.volume.part] if self.volume.part else []
        return (identity.input_digest, self.model.identity, identity.rule, *revision, *part)

    @property
    def series_description(self) -> str:
        """Series Description (0008,103E), which names the part of a series and its revision."""
        said = [text for text in (self.volume.part, self._revision(" ")) if text]
        words = f" ({', '.join(said)})" if said else ""
        return f"{self.model.descriptor.series_description[: 64 - len(words)]}{words}"

    @property
    def content_label(self) -> str:
        """Content Label (0070,0080), which names the revision."""
        revision = f"_R{self.identity.revision}" if self.identity.revision > 1 else ""
        return f"{self.model.descriptor.content_label[: 16 - len(revision)]}{revision}"

    def tracking_uid(self, segment: SegmentAttributes) -> str:
        """Return the UID that names a segment in every object of this result."""
        return derived_uid("segment", *self.prefix, str(segment.label_id))

    def tracking_id(self, segment: SegmentAttributes) -> str:
        """Return the text that names a segment in every object of this result."""
        return f"{self.model.name} {segment.label}"

    def series_number(self, output: Output) -> int:
        """Return the Series Number of a kind of object, beside that of the source."""
        number = self.volume.sources[0].get("SeriesNumber")
        apart = _SERIES_NUMBERS_APART * list(Output).index(output)
        return self.model.descriptor.series_number_offset + apart + max(0, int(number or 0))

    def predecessors(self, sop_class_uid: str, form: Form) -> tuple[MadeObject, ...]:
        """Return the earlier objects that one of this class and form takes the place of."""
        earlier = self.identity.predecessors
        alike = [one for one in earlier if one.sop_class_uid == sop_class_uid]
        same = [one for one in alike if form_of(one, self.forms, len(earlier)) == form]
        return tuple(same or alike)

    def _revision(self, gap: str) -> str:
        return f"revision{gap}{self.identity.revision}" if self.identity.revision > 1 else ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ResultObject:
    """One object of a result in its form, with what its SOP Instance UID was given to.

    ``segment_numbers`` has the segment number of each label that a segmentation describes.
    """

    form: Form
    dataset: Dataset
    segment_numbers: Mapping[int, int]


def part10(dataset: Dataset) -> bytes:
    """Encode a result as a Part 10 file."""
    file = BytesIO()
    if dataset.file_meta.TransferSyntaxUID not in _NATIVE or "PixelData" not in dataset:
        dcmwrite(file, dataset, enforce_file_format=True)
        return file.getvalue()
    # pydicom copies pixels twice on their way; as the last element they can be put behind.
    head = Dataset()
    head.update(dataset)
    head.file_meta = dataset.file_meta
    del head.PixelData
    dcmwrite(file, head, enforce_file_format=True)
    file.seek(0, SEEK_END)
    file.write(_pixel_data_header(dataset))
    file.write(dataset.PixelData)
    return file.getvalue()


def _pixel_data_header(dataset: Dataset) -> bytes:
    """Encode tag, VR where there is one, and length of Pixel Data (PS3.5 section 7.1)."""
    length = len(dataset.PixelData)
    if dataset.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian:
        return struct.pack("<HHI", *_PIXEL_DATA, length)
    vr = b"OB" if dataset.BitsAllocated <= _BITS_OF_BYTES else b"OW"
    return struct.pack("<HH2sHI", *_PIXEL_DATA, vr, 0, length)


def input_digest(instance_digests: Iterable[str]) -> str:
    """Digest the digests of the instances that a result is made of, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(instance_digests)).encode()).hexdigest()


def concept(code: CodedConcept) -> HighdicomConcept:
    """Return a descriptor's code as highdicom takes it."""
    return HighdicomConcept(code.code_value, code.coding_scheme_designator, code.code_meaning)


def algorithm(model: Model) -> AlgorithmIdentificationSequence:
    """Identify a model as the algorithm of a segment (PS3.3 section 10.13)."""
    return AlgorithmIdentificationSequence(
        name=model.name,
        family=codes.DCM.ArtificialIntelligence,
        version=model.version,
        parameters={"bundle_digest": model.descriptor.bundle_digest},
    )


def names(segmented: SegmentedVolume, form: Form, number: int = 1) -> dict[str, Any]:
    """Return the arguments of highdicom that name an object, its series and its makers."""
    identity = segmented.identity
    model = segmented.model
    return {
        "series_instance_uid": form.series_instance_uid(segmented.prefix),
        "series_number": segmented.series_number(form.output),
        "sop_instance_uid": form.sop_instance_uid(segmented.prefix, number),
        "instance_number": number,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MANUFACTURER_MODEL_NAME,
        "software_versions": [identity.software_version, f"{model.name} {model.version}"],
        "device_serial_number": identity.device_serial_number or "0",
        "series_description": segmented.series_description,
        "contributing_equipment": [_contribution(segmented)],
        **dates(identity.created),
    }


def dates(created: datetime) -> dict[str, Any]:
    """Return the arguments of highdicom that date an object and its series."""
    return {
        "content_date": created.date(),
        "content_time": created.time(),
        "series_date": created.date(),
        "series_time": created.time(),
    }


def settle(dataset: Dataset, segmented: SegmentedVolume, form: Form) -> None:
    """Put the source's own patient and study attributes back, and fixed values for random ones."""
    source = segmented.volume.sources[0]
    created = segmented.identity.created
    for keyword in (*MAY_BE_EMPTY, "SpecificCharacterSet"):
        if keyword in source:
            dataset[keyword] = source[keyword]
    dataset.InstanceCreationDate = created.date()
    dataset.InstanceCreationTime = created.time()
    dataset.ContributingEquipmentSequence[-1].ContributionDateTime = DT(created)  # highdicom's
    earlier = segmented.predecessors(str(dataset.SOPClassUID), form)
    if earlier:
        dataset.RelatedSeriesSequence = [
            _related(str(dataset.StudyInstanceUID), uid)
            for uid in dict.fromkeys(one.series_instance_uid for one in earlier)
        ]
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME


def encoded(dataset: Dataset, form: Form) -> Dataset:
    """Give a finished object, made in Explicit VR Little Endian, the syntax of its form."""
    transfer_syntax_uid = UID(form.transfer_syntax_uid)
    if transfer_syntax_uid.is_encapsulated:
        dataset.compress(transfer_syntax_uid, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = transfer_syntax_uid
    return dataset


def _contribution(segmented: SegmentedVolume) -> ContributingEquipment:
    identity, model = segmented.identity, segmented.model
    return ContributingEquipment(
        MANUFACTURER,
        codes.DCM.ProcessingEquipment,
        manufacturer_model_name=MANUFACTURER_MODEL_NAME,
        software_versions=identity.software_version,
        device_serial_number=identity.device_serial_number or "0",
        contribution_datetime=identity.created,
        contribution_description=f"Segmentation by {model.name} {model.version}",
    )


def _related(study_instance_uid: str, series_instance_uid: str) -> Dataset:
    """Return an item for the series that held the earlier result (PS3.3 section 10.15)."""
    item = Dataset()
    item.StudyInstanceUID = study_instance_uid
    item.SeriesInstanceUID = series_instance_uid
    item.PurposeOfReferenceCodeSequence = []
    return item
