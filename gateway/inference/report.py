"""What a model found as a Measurement Report (PS3.16 TID 1500) that refers to the SEG.

This is the root object of a result (IHE AI Results): it says what was looked for, what was found
where, and how large it is; what was looked for and not found it says, too.
"""

from collections.abc import Iterator, Mapping, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceImageForMeasurementGroup,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian

from gateway.dicom.uids import derived_uid
from gateway.inference.descriptor import SegmentAttributes
from gateway.inference.forms import Form, MadeObject
from gateway.inference.input_requirements import Suv
from gateway.inference.measurement import SegmentMeasure
from gateway.inference.result import (
    MANUFACTURER,
    MANUFACTURER_MODEL_NAME,
    ResultObject,
    SegmentedVolume,
    concept,
    encoded,
    names,
    settle,
)
from gateway.inference.sources import stand_ins

_LATERALITIES = frozenset({"7771000", "24028007", "51440002", "66459002"})
_MILLILITRE = CodedConcept("ml", "UCUM", "ml")
_NUMBER_CHARACTERS = 6
_PROCEDURES = {
    "CT": CodedConcept("77477000", "SCT", "Computed tomography"),
    "MR": CodedConcept("113091000", "SCT", "Magnetic resonance imaging"),
    "PT": CodedConcept("82918005", "SCT", "Positron emission tomography"),
}
_ANY_PROCEDURE = CodedConcept("363679005", "SCT", "Imaging procedure")


def report(
    segmented: SegmentedVolume,
    form: Form,
    measures: Sequence[SegmentMeasure],
    about: Sequence[ResultObject],
) -> ResultObject:
    """Make the report: a group of measurements for each segment, in the order of their labels.

    A segment that was found refers to its segment in one of ``about``, with volume, longest
    axis, mean and standard deviation; one that was not has "Presence of property: Absent".
    Without ``about``, measurements refer to the source images.
    """
    sources = stand_ins(segmented.volume)
    evidence = [*_instances(segmented, sources), *(one.dataset for one in about)]
    content = MeasurementReport(
        observation_context=_observer(segmented),
        procedure_reported=_procedure(segmented),
        imaging_measurements=list(_groups(segmented, measures, about, sources)),
        title=codes.DCM.ImagingMeasurementReport,
    )
    arguments = names(segmented, form)
    dataset: Dataset = Comprehensive3DSR(
        evidence=evidence,
        content=content[0],
        is_complete=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        previous_versions=_predecessors(segmented, form) or None,
        **arguments,
    )
    settle(dataset, segmented, form)
    return ResultObject(form=form, dataset=encoded(dataset, form), segment_numbers={})


def _instances(segmented: SegmentedVolume, sources: Sequence[Dataset]) -> list[Dataset]:
    """Return one data set per instance, as evidence that names instances and not frames."""
    found: dict[str, Dataset] = {}
    for stand_in, source in zip(sources, segmented.volume.sources, strict=True):
        stand_in.SOPClassUID = source.SOPClassUID
        stand_in.SOPInstanceUID = source.SOPInstanceUID
        found.setdefault(str(source.SOPInstanceUID), stand_in)
    return list(found.values())


def _observer(segmented: SegmentedVolume) -> ObservationContext:
    identity, model = segmented.identity, segmented.model
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", identity.device_serial_number, model.name),
        name=model.name,
        manufacturer_name=MANUFACTURER,
        model_name=MANUFACTURER_MODEL_NAME,
        serial_number=identity.device_serial_number or "0",
    )
    context = ObserverContext(
        observer_type=codes.DCM.Device, observer_identifying_attributes=device
    )
    return ObservationContext(observer_device_context=context)


def _procedure(segmented: SegmentedVolume) -> CodedConcept:
    source = segmented.volume.sources[0]
    return _PROCEDURES.get(str(source.get("Modality", "")), _ANY_PROCEDURE)


def _groups(
    segmented: SegmentedVolume,
    measures: Sequence[SegmentMeasure],
    about: Sequence[ResultObject],
    sources: Sequence[Dataset],
) -> Iterator[
    VolumetricROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations
]:
    segments = segmented.model.descriptor.segments_by_label
    for segment, measured in zip(segments, measures, strict=True):
        common = {
            "tracking_identifier": TrackingIdentifier(
                uid=segmented.tracking_uid(segment), identifier=segmented.tracking_id(segment)
            ),
            "finding_type": concept(segment.property_type),
            "finding_category": concept(segment.category),
            "finding_sites": _sites(segment),
            "algorithm_id": AlgorithmIdentification(
                name=segmented.model.name,
                version=segmented.model.version,
                parameters=[f"bundle_digest={segmented.model.descriptor.bundle_digest}"],
            ),
        }
        reference = _reference(segmented, segment, about)
        if not measured.voxels:
            yield MeasurementsAndQualitativeEvaluations(
                qualitative_evaluations=[_absent()], **common
            )
        elif reference is not None:
            yield VolumetricROIMeasurementsAndQualitativeEvaluations(
                referenced_segment=reference,
                measurements=list(_measurements(segmented, measured)),
                **common,
            )
        else:
            yield MeasurementsAndQualitativeEvaluations(
                source_images=[SourceImageForMeasurementGroup.from_source_image(sources[0])],
                measurements=list(_measurements(segmented, measured)),
                **common,
            )


def _reference(
    segmented: SegmentedVolume, segment: SegmentAttributes, about: Sequence[ResultObject]
) -> ReferencedSegment | None:
    for one in about:
        number = one.segment_numbers.get(segment.label_id)
        if number is not None:
            series = str(segmented.volume.sources[0].SeriesInstanceUID)
            return ReferencedSegment(
                sop_class_uid=str(one.dataset.SOPClassUID),
                sop_instance_uid=str(one.dataset.SOPInstanceUID),
                segment_number=number,
                source_series=SourceSeriesForSegmentation(series),
            )
    return None


def _sites(segment: SegmentAttributes) -> list[FindingSite] | None:
    """Return where the finding is; laterality is said of the site, or of the finding as one."""
    modifier = segment.property_type_modifier
    is_side = modifier is not None and modifier.code_value in _LATERALITIES
    place = segment.anatomic_region or (segment.property_type if is_side else None)
    if place is None:
        return None
    side = concept(modifier) if modifier is not None and is_side else None
    return [FindingSite(anatomic_location=concept(place), laterality=side)]


def _absent() -> QualitativeEvaluation:
    return QualitativeEvaluation(name=codes.DCM.PresenceOfProperty, value=codes.DCM.Absent)


def _measurements(segmented: SegmentedVolume, measured: SegmentMeasure) -> Iterator[Measurement]:
    yield Measurement(codes.SCT.Volume, _rounded(measured.ml), _MILLILITRE)
    if measured.longest_axis_mm is not None:
        length_mm = _rounded(measured.longest_axis_mm)
        yield Measurement(codes.SCT.LongAxis, length_mm, codes.UCUM.Millimeter)
    quantity = _quantity(segmented)
    if quantity is None or measured.mean is None or measured.deviation is None:
        return
    name, unit = quantity
    yield Measurement(name, _rounded(measured.mean), unit, derivation=codes.SCT.Mean)
    yield Measurement(
        name, _rounded(measured.deviation), unit, derivation=codes.SCT.StandardDeviation
    )


def _quantity(segmented: SegmentedVolume) -> tuple[CodedConcept, CodedConcept] | None:
    """Return what the values of the image are, and their unit; None where it does not say."""
    source = segmented.volume.sources[0]
    if segmented.model.descriptor.input.suv is Suv.BODY_WEIGHT:
        return (
            CodedConcept("126401", "DCM", "SUVbw"),
            CodedConcept("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight"),
        )
    by_modality: Mapping[str, tuple[CodedConcept, CodedConcept]] = {
        "CT": (
            CodedConcept("112031", "DCM", "Attenuation Coefficient"),
            CodedConcept("[hnsf'U]", "UCUM", "Hounsfield unit"),
        ),
        "MR": (
            CodedConcept("110852", "DCM", "MR signal intensity"),
            CodedConcept("1", "UCUM", "no units"),
        ),
    }
    if str(source.get("Modality", "")) == "PT" and str(source.get("Units", "")) == "BQML":
        return (
            CodedConcept("122093", "DCM", "Concentration"),
            CodedConcept("Bq/ml", "UCUM", "Becquerels/milliliter"),
        )
    return by_modality.get(str(source.get("Modality", "")))


def _rounded(value: float) -> float:
    """Return a value with six significant digits, more than any of them is worth."""
    return float(f"{value:.{_NUMBER_CHARACTERS}g}")


def _predecessors(segmented: SegmentedVolume, form: Form) -> list[Dataset]:
    """Return what names the reports that this one takes the place of."""
    source = segmented.volume.sources[0]
    earlier = segmented.predecessors(Comprehensive3DSRStorage, form)
    return [_named(one, str(source.StudyInstanceUID)) for one in earlier]


def _named(made: MadeObject, study_instance_uid: str) -> Dataset:
    item = Dataset()
    item.SOPClassUID = made.sop_class_uid
    item.SOPInstanceUID = made.sop_instance_uid
    item.StudyInstanceUID = study_instance_uid
    item.SeriesInstanceUID = made.series_instance_uid
    return item
