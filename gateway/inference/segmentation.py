"""The label map of a model as DICOM SEG on the grid of its source series (PS3.3 A.51).

BINARY, one bit per voxel, native Explicit VR Little Endian: what every receiver reads. Equal
inputs give equal bytes, so that a repeated job delivers the very same object.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence, ContributingEquipment
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept as HighdicomConcept
from pydicom import Dataset, dcmwrite
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import DT, format_number_as_ds

from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from gateway.dicom.uids import derived_uid
from gateway.inference.bundle import Model
from gateway.inference.descriptor import CodedConcept, SegmentAttributes
from gateway.inference.volume import SeriesVolume

MANUFACTURER = "Gateway"
MANUFACTURER_MODEL_NAME = "DICOM gateway"

# Attributes that a source often has empty, missing or malformed, and highdicom insists on.
_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultIdentity:
    """What names a result and dates it.

    The UIDs of the result follow from ``input_digest`` (of the instances that were segmented),
    the model and ``rule``; its bytes from these and from ``created``, ``software_version`` (the
    gateway's) and ``device_serial_number`` (the node's AE title). ``created`` is local time
    without a time zone, as DICOM dates and times are.
    """

    input_digest: str
    rule: str
    created: datetime
    software_version: str
    device_serial_number: str


def segmentation(
    volume: SeriesVolume, label_map: npt.NDArray[Any], model: Model, identity: ResultIdentity
) -> Dataset:
    """Make the SEG of a label map (slices, rows, columns) that lies on the volume's grid.

    Segments are numbered from 1 in the order of their label values; a segment without voxels
    is described all the same, which says "looked for and not found". Frames without voxels are
    left out. Of a label map without any, one empty frame of the middle slice is written, since
    an image has at least one.
    """
    numbers = _segment_numbers(label_map, model)
    is_empty = not numbers.any()
    if is_empty:
        numbers[len(numbers) // 2, 0, 0] = 1
    prefix = (identity.input_digest, model.identity, identity.rule)
    dataset: Dataset = Segmentation(
        source_images=_stand_ins(volume),
        pixel_array=numbers,
        segmentation_type="BINARY",
        segment_descriptions=list(_descriptions(model, prefix)),
        series_instance_uid=derived_uid("series", *prefix),
        series_number=_series_number(volume, model),
        sop_instance_uid=derived_uid("instance", *prefix),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER_MODEL_NAME,
        software_versions=[identity.software_version, f"{model.name} {model.version}"],
        device_serial_number=identity.device_serial_number or "0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        content_label=model.descriptor.content_label,
        content_description=model.descriptor.series_description,
        series_description=model.descriptor.series_description,
        contributing_equipment=[_contribution(model, identity)],
        **_dates(identity.created),
    )
    if is_empty:
        dataset.PixelData = bytes(len(dataset.PixelData))
    _settle(dataset, volume, derived_uid("dimensions", *prefix), identity.created)
    return dataset


def part10(dataset: Dataset) -> bytes:
    """Encode a result as a Part 10 file."""
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def input_digest(instance_digests: Iterable[str]) -> str:
    """Digest the digests of the instances that a result is made of, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(instance_digests)).encode()).hexdigest()


def _segment_numbers(label_map: npt.NDArray[Any], model: Model) -> npt.NDArray[np.uint8]:
    labels = [segment.label_id for segment in model.descriptor.segments_by_label]
    table = np.zeros(np.iinfo(np.uint16).max + 1, dtype=np.uint8)
    table[labels] = np.arange(1, len(labels) + 1)
    numbers = np.empty(label_map.shape, dtype=np.uint8)
    for source, target in zip(label_map, numbers, strict=True):
        target[...] = table[source]  # by slice, as indexing takes eight bytes a voxel
    return numbers


def _descriptions(model: Model, prefix: Sequence[str]) -> Iterator[SegmentDescription]:
    algorithm = AlgorithmIdentificationSequence(
        name=model.name,
        family=codes.DCM.ArtificialIntelligence,
        version=model.version,
        parameters={"bundle_digest": model.descriptor.bundle_digest},
    )
    for number, segment in enumerate(model.descriptor.segments_by_label, start=1):
        description = SegmentDescription(
            segment_number=number,
            segment_label=segment.label,
            segmented_property_category=_concept(segment.category),
            segmented_property_type=_concept(segment.property_type),
            algorithm_type=segment.algorithm_type.value,
            algorithm_identification=algorithm,
            tracking_uid=derived_uid("segment", *prefix, str(segment.label_id)),
            tracking_id=f"{model.name} {segment.label}",
            anatomic_regions=_region(segment),
            display_color=CIELabColor.from_rgb(*segment.colour_rgb),
        )
        if segment.description:
            description.SegmentDescription = segment.description
        if segment.property_type_modifier:
            # highdicom has no argument for it, and without it left and right are the same.
            [property_type] = description.SegmentedPropertyTypeCodeSequence
            property_type.SegmentedPropertyTypeModifierCodeSequence = DicomSequence(
                [_concept(segment.property_type_modifier)]
            )
        yield description


def _concept(code: CodedConcept) -> HighdicomConcept:
    return HighdicomConcept(code.code_value, code.coding_scheme_designator, code.code_meaning)


def _region(segment: SegmentAttributes) -> list[HighdicomConcept] | None:
    return [_concept(segment.anatomic_region)] if segment.anatomic_region else None


def _stand_ins(volume: SeriesVolume) -> list[Dataset]:
    """Copy the sources with what highdicom checks too strictly put right; see `_settle`."""
    stand_ins = []
    for source in volume.sources:
        stand_in = Dataset()
        stand_in.update(source)
        # Elements are shared with the source, so that one must be taken out before it changes.
        for keyword in (*_TYPE_2, "SpecificCharacterSet", "FrameOfReferenceUID"):
            stand_in.pop(keyword, None)
        for keyword in _TYPE_2:
            setattr(stand_in, keyword, None)
        stand_in.FrameOfReferenceUID = _frame_of_reference_uid(source)
        if not stand_in.get("SliceThickness"):
            stand_in.pop("SliceThickness", None)
            stand_in.SliceThickness = format_number_as_ds(volume.geometry.slice_spacing_mm)
        stand_ins.append(stand_in)
    return stand_ins


def _frame_of_reference_uid(source: Dataset) -> UID:
    """Return the source's frame of reference, or one made up for a series that names none."""
    return UID(
        source.get("FrameOfReferenceUID")
        or derived_uid("frame of reference", str(source.SeriesInstanceUID))
    )


def _series_number(volume: SeriesVolume, model: Model) -> int:
    number = volume.sources[0].get("SeriesNumber")
    return model.descriptor.series_number_offset + max(0, int(number or 0))


def _contribution(model: Model, identity: ResultIdentity) -> ContributingEquipment:
    return ContributingEquipment(
        MANUFACTURER,
        codes.DCM.ProcessingEquipment,
        manufacturer_model_name=MANUFACTURER_MODEL_NAME,
        software_versions=identity.software_version,
        device_serial_number=identity.device_serial_number or "0",
        contribution_datetime=identity.created,
        contribution_description=f"Segmentation by {model.name} {model.version}",
    )


def _dates(created: datetime) -> dict[str, Any]:
    return {
        "content_date": created.date(),
        "content_time": created.time(),
        "series_date": created.date(),
        "series_time": created.time(),
    }


def _settle(
    dataset: Dataset, volume: SeriesVolume, organization_uid: str, created: datetime
) -> None:
    """Put the source's own patient and study attributes back, and fixed values for random ones."""
    source = volume.sources[0]
    for keyword in (*_TYPE_2, "SpecificCharacterSet"):
        if keyword in source:
            dataset[keyword] = source[keyword]
    dataset.InstanceCreationDate = created.date()
    dataset.InstanceCreationTime = created.time()
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = UID(organization_uid)
    dataset.ContributingEquipmentSequence[-1].ContributionDateTime = DT(created)  # highdicom's
    [shared] = dataset.SharedFunctionalGroupsSequence
    [measures] = shared.PixelMeasuresSequence
    measures.SpacingBetweenSlices = format_number_as_ds(volume.geometry.slice_spacing_mm)
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
