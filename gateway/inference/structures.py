"""The label map of a model as RT Structure Set (PS3.3 A.19): closed contours on the slices."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, RTStructureSetStorage

from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from gateway.inference.contours import outlines
from gateway.inference.descriptor import SegmentAttributes
from gateway.inference.forms import Form
from gateway.inference.result import (
    MANUFACTURER,
    MANUFACTURER_MODEL_NAME,
    ResultObject,
    SegmentedVolume,
)
from gateway.inference.sources import (
    MAY_BE_EMPTY,
    PATIENT_AND_STUDY,
    frame_of_reference_uid,
    image_position_lps_mm,
    instance_references,
    source_reference,
)

_CONTOUR_DATA = Tag("ContourData")
_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"  # retired, and what RT receivers still look for


def structure_set(segmented: SegmentedVolume, form: Form) -> ResultObject:
    """Make the structure set: one ROI for each segment, without contours if it was not found.

    Contours run along the edges of pixels in the planes of the source slices, so that a
    receiver that fills them by pixel centres gets the label map back.
    """
    dataset = _head(segmented, form)
    volume = segmented.volume
    source = volume.sources[0]
    frame_of_reference = frame_of_reference_uid(source)
    dataset.FrameOfReferenceUID = frame_of_reference
    dataset.PositionReferenceIndicator = source.get("PositionReferenceIndicator", "")
    dataset.ReferencedFrameOfReferenceSequence = [_referenced(segmented)]
    segments = segmented.model.descriptor.segments_by_label
    numbered = list(enumerate(segments, start=1))
    dataset.StructureSetROISequence = [
        _roi(segmented, segment, number, frame_of_reference) for number, segment in numbered
    ]
    contours = _contours(segmented)
    dataset.ROIContourSequence = [
        _roi_contour(segment, number, contours.get(segment.label_id, []))
        for number, segment in numbered
    ]
    dataset.RTROIObservationsSequence = [
        _observation(segment, number) for number, segment in numbered
    ]
    dataset.ApprovalStatus = "UNAPPROVED"
    return ResultObject(
        form=form,
        dataset=dataset,
        segment_numbers={segment.label_id: number for number, segment in numbered},
    )


def _head(segmented: SegmentedVolume, form: Form) -> Dataset:
    identity, model = segmented.identity, segmented.model
    created = identity.created
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(form.transfer_syntax_uid)
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    for keyword in PATIENT_AND_STUDY:
        if keyword in segmented.volume.sources[0]:
            dataset[keyword] = segmented.volume.sources[0][keyword]
        elif keyword in MAY_BE_EMPTY:
            setattr(dataset, keyword, None)
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = form.sop_instance_uid(segmented.prefix)
    dataset.InstanceCreationDate = created.date()
    dataset.InstanceCreationTime = created.time()
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = form.series_instance_uid(segmented.prefix)
    dataset.SeriesNumber = segmented.series_number(form.output)
    dataset.SeriesDescription = segmented.series_description
    dataset.SeriesDate, dataset.SeriesTime = created.date(), created.time()
    dataset.OperatorsName = None
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MANUFACTURER_MODEL_NAME
    dataset.DeviceSerialNumber = identity.device_serial_number or "0"
    dataset.SoftwareVersions = [identity.software_version, f"{model.name} {model.version}"]
    dataset.StructureSetLabel = segmented.content_label
    dataset.StructureSetName = segmented.series_description
    dataset.StructureSetDescription = f"Made by {model.name} {model.version}, not reviewed"
    dataset.StructureSetDate, dataset.StructureSetTime = created.date(), created.time()
    dataset.InstanceNumber = 1
    earlier = segmented.predecessors(RTStructureSetStorage, form)
    if earlier:
        dataset.PredecessorStructureSetSequence = [
            _reference(one.sop_class_uid, one.sop_instance_uid) for one in earlier[:1]
        ]
    return dataset


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def _referenced(segmented: SegmentedVolume) -> Dataset:
    """Refer to the source series: frame of reference, study, series and each instance."""
    volume = segmented.volume
    source = volume.sources[0]
    series = Dataset()
    series.SeriesInstanceUID = source.SeriesInstanceUID
    series.ContourImageSequence = instance_references(volume)
    study = _reference(_STUDY_MANAGEMENT, str(source.StudyInstanceUID))
    study.RTReferencedSeriesSequence = [series]
    frame_of_reference = Dataset()
    frame_of_reference.FrameOfReferenceUID = frame_of_reference_uid(source)
    frame_of_reference.RTReferencedStudySequence = [study]
    return frame_of_reference


def _roi(
    segmented: SegmentedVolume, segment: SegmentAttributes, number: int, frame_of_reference: UID
) -> Dataset:
    item = Dataset()
    item.ROINumber = number
    item.ReferencedFrameOfReferenceUID = frame_of_reference
    item.ROIName = segment.label
    if segment.description:
        item.ROIDescription = segment.description
    item.ROIGenerationAlgorithm = segment.algorithm_type.value
    item.ROIGenerationDescription = f"{segmented.model.name} {segmented.model.version}"
    return item


def _roi_contour(segment: SegmentAttributes, number: int, contours: list[Dataset]) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(segment.colour_rgb)
    item.ReferencedROINumber = number
    if contours:
        for position, contour in enumerate(contours, start=1):
            contour.ContourNumber = position
        item.ContourSequence = contours
    return item


def _observation(segment: SegmentAttributes, number: int) -> Dataset:
    item = Dataset()
    item.ObservationNumber = number
    item.ReferencedROINumber = number
    item.ROIObservationLabel = segment.label[:16]
    code = Dataset()
    code.CodeValue = segment.property_type.code_value
    code.CodingSchemeDesignator = segment.property_type.coding_scheme_designator
    code.CodeMeaning = segment.property_type.code_meaning
    item.RTROIIdentificationCodeSequence = [code]
    item.RTROIInterpretedType = ""
    item.ROIInterpreter = ""
    return item


def _contours(segmented: SegmentedVolume) -> dict[int, list[Dataset]]:
    """Return the contours of each label, slice by slice."""
    found: dict[int, list[Dataset]] = {}
    for index, plane in enumerate(segmented.label_map):
        for label in np.flatnonzero(np.bincount(plane.reshape(-1))).tolist():
            if label:
                found.setdefault(label, []).extend(_in_slice(segmented, index, plane == label))
    return found


def _in_slice(
    segmented: SegmentedVolume, index: int, mask: npt.NDArray[np.bool_]
) -> Iterator[Dataset]:
    affine_lps = _affine_lps(segmented, index)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for polygon in outlines(box):
        # A corner between pixels lies half a pixel before the centre of the one after it.
        corners = np.asarray(polygon, dtype=np.float64) - 0.5 + [rows[0], columns[0]]
        placed = np.column_stack([np.zeros(len(corners)), corners, np.ones(len(corners))])
        yield _contour(segmented, index, (placed @ affine_lps.T)[:, :3])


def _affine_lps(segmented: SegmentedVolume, index: int) -> npt.NDArray[np.float64]:
    """Return the matrix from (0, row, column, 1) to mm, in the very plane of the slice's image."""
    affine_lps = segmented.volume.source_geometry.affine_lps.copy()
    affine_lps[:3, 3] = image_position_lps_mm(segmented.volume, index)
    return affine_lps


def _contour(segmented: SegmentedVolume, index: int, points_lps_mm: npt.NDArray[Any]) -> Dataset:
    item = Dataset()
    item.set_original_encoding(True, True, default_encoding)
    item.ContourImageSequence = [source_reference(segmented.volume, index)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points_lps_mm)
    text = "\\".join([f"{value:.4f}" for value in points_lps_mm.reshape(-1).tolist()])
    value = text.encode() + b" " * (len(text) % 2)
    # As it goes to the file: a number at a time, pydicom takes ten times as long.
    item[_CONTOUR_DATA] = RawDataElement(
        _CONTOUR_DATA, "DS", len(value), value, 0, is_implicit_VR=True, is_little_endian=True
    )
    return item
