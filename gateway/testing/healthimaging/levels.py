"""Which elements of an instance the service keeps once for its patient, study or series.

Source: HealthImaging developer guide, "Metadata normalization"; the modules are those of PS3.3
annex C: Patient; General Study and Patient Study; General Series, General Equipment and Frame of
Reference.
"""

from enum import StrEnum


class Level(StrEnum):
    """Where in the metadata of an image set an element stands."""

    PATIENT = "Patient"
    STUDY = "Study"
    SERIES = "Series"
    INSTANCE = "Instance"


_PATIENT = """
PatientName PatientID IssuerOfPatientID IssuerOfPatientIDQualifiersSequence TypeOfPatientID
PatientBirthDate PatientBirthTime PatientBirthDateInAlternativeCalendar
PatientDeathDateInAlternativeCalendar PatientAlternativeCalendar PatientSex
QualityControlSubject ReferencedPatientPhotoSequence OtherPatientIDs OtherPatientIDsSequence
OtherPatientNames EthnicGroup EthnicGroupCodeSequence PatientComments PatientSpeciesDescription
PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence
BreedRegistrationSequence StrainDescription StrainNomenclature StrainCodeSequence
StrainAdditionalInformation StrainStockSequence GeneticModificationsSequence ResponsiblePerson
ResponsiblePersonRole ResponsibleOrganization PatientIdentityRemoved DeidentificationMethod
DeidentificationMethodCodeSequence SourcePatientGroupIdentificationSequence
GroupOfPatientsIdentificationSequence ReferencedPatientSequence
"""
_STUDY = """
StudyInstanceUID StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence
ReferringPhysicianName ReferringPhysicianIdentificationSequence ConsultingPhysicianName
ConsultingPhysicianIdentificationSequence StudyID StudyDescription PhysiciansOfRecord
PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy
PhysiciansReadingStudyIdentificationSequence RequestingService RequestingServiceCodeSequence
ReferencedStudySequence ProcedureCodeSequence ReasonForPerformedProcedureCodeSequence
AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence PatientAge PatientSize PatientWeight
PatientBodyMassIndex MeasuredAPDimension MeasuredLateralDimension PatientSizeCodeSequence
MedicalAlerts Allergies SmokingStatus PregnancyStatus LastMenstrualDate PatientState Occupation
AdditionalPatientHistory AdmissionID IssuerOfAdmissionIDSequence ServiceEpisodeID
IssuerOfServiceEpisodeIDSequence ServiceEpisodeDescription PatientSexNeutered ReasonForVisit
ReasonForVisitCodeSequence
"""
_SERIES = """
SeriesInstanceUID SeriesNumber Modality Laterality SeriesDate SeriesTime SeriesDescription
SeriesDescriptionCodeSequence PerformingPhysicianName
PerformingPhysicianIdentificationSequence OperatorsName OperatorIdentificationSequence
ProtocolName ReferencedPerformedProcedureStepSequence RelatedSeriesSequence BodyPartExamined
PatientPosition SmallestPixelValueInSeries LargestPixelValueInSeries RequestAttributesSequence
PerformedProcedureStepID PerformedProcedureStepStartDate PerformedProcedureStepStartTime
PerformedProcedureStepEndDate PerformedProcedureStepEndTime PerformedProcedureStepDescription
PerformedProtocolCodeSequence CommentsOnThePerformedProcedureStep TreatmentSessionUID
AnatomicalOrientationType FrameOfReferenceUID PositionReferenceIndicator Manufacturer
InstitutionName InstitutionAddress StationName InstitutionalDepartmentName
InstitutionalDepartmentTypeCodeSequence ManufacturerModelName ManufacturerDeviceClassUID
DeviceSerialNumber SoftwareVersions GantryID UDISequence DeviceUID SpatialResolution
DateOfLastCalibration TimeOfLastCalibration PixelPaddingValue
"""
_LEVELS = {
    keyword: level
    for level, keywords in (
        (Level.PATIENT, _PATIENT),
        (Level.STUDY, _STUDY),
        (Level.SERIES, _SERIES),
    )
    for keyword in keywords.split()
}


def level_of(keyword: str) -> Level:
    """Return where an element of this keyword stands; what is in no list is the instance's."""
    return _LEVELS.get(keyword, Level.INSTANCE)
