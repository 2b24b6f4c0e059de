"""The attributes of a phantom's CT Image Storage instance (CT Image IOD, PS3.3 A.3)."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from gateway.dicom.uids import derived_uid

IMPLEMENTATION_UID = "2.25.196610452973208735164018271550382143009"


class Pixels(StrEnum):
    """How stored values represent Hounsfield units."""

    SIGNED_16 = "signed 16 bit"
    """16 bits stored, two's complement, intercept 0."""
    UNSIGNED_12 = "unsigned 12 bit"
    """12 bits stored in 16, intercept -1024."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Whom and when the phantom scanner scans: all made up, and the same on every call."""

    patient_name: str = "Phantom^Torso"
    patient_id: str = "PHANTOM-0001"
    study_description: str = "Phantom CT"
    series_description: str = "Phantom torso"
    body_part_examined: str = "CHEST"
    accession_number: str = "PH0001"
    study_id: str = "1"
    series_number: int = 1
    date: str = "20260102"
    time: str = "101500"
    seed: int = 0


def scan_uid(*parts: object) -> UID:
    """Return the UID under 2.25 (PS3.5 B.2) that follows from the parts' representations."""
    return UID(derived_uid("phantom scanner", *(repr(part) for part in parts)))


def ct_image(hounsfield: NDArray[np.float32], study: Study, pixels: Pixels) -> Dataset:
    """Return an instance with all but its series' UID and its own identity and position.

    ``hounsfield`` is shaped (rows, columns); values that the stored form cannot hold are clipped.
    """
    dataset = Dataset()
    dataset.file_meta = _file_meta()
    dataset.SOPClassUID = CTImageStorage
    _describe_patient_and_study(dataset, study)
    _describe_series(dataset, study)
    _describe_equipment(dataset)
    _describe_exposure(dataset)
    _set_pixels(dataset, hounsfield, pixels)
    return dataset


def _file_meta() -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "PHANTOM_SCANNER"
    return meta


def _describe_patient_and_study(dataset: Dataset, study: Study) -> None:
    dataset.PatientName = study.patient_name
    dataset.PatientID = study.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = scan_uid("study", study.patient_id, study.study_id, study.seed)
    dataset.StudyID = study.study_id
    dataset.StudyDate = study.date
    dataset.StudyTime = study.time
    dataset.StudyDescription = study.study_description
    dataset.AccessionNumber = study.accession_number
    dataset.ReferringPhysicianName = ""


def _describe_series(dataset: Dataset, study: Study) -> None:
    dataset.Modality = "CT"
    dataset.SeriesNumber = study.series_number
    dataset.SeriesDescription = study.series_description
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = study.date
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = study.time
    dataset.AcquisitionNumber = 1
    dataset.BodyPartExamined = study.body_part_examined
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = scan_uid("frame", dataset.StudyInstanceUID)
    dataset.PositionReferenceIndicator = ""


def _describe_equipment(dataset: Dataset) -> None:
    dataset.Manufacturer = "Phantom"
    dataset.ManufacturerModelName = "Phantom scanner"
    dataset.InstitutionName = "Phantom"
    dataset.StationName = "PHANTOM"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"


def _describe_exposure(dataset: Dataset) -> None:
    dataset.KVP = "120"
    dataset.XRayTubeCurrent = "200"
    dataset.ExposureTime = "500"
    dataset.ConvolutionKernel = "STANDARD"
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "HU"
    dataset.WindowCenter = "40"
    dataset.WindowWidth = "400"


def _set_pixels(dataset: Dataset, hounsfield: NDArray[np.float32], pixels: Pixels) -> None:
    """Set the image pixel module (PS3.3 C.7.6.3) and the rescale intercept."""
    signed = pixels is Pixels.SIGNED_16
    intercept, bits = (0, 16) if signed else (-1024, 12)
    low, high = (-1024, 3071) if signed else (0, 4095)
    stored = np.clip(np.rint(hounsfield - intercept), low, high)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hounsfield.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleIntercept = str(intercept)
    dataset.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
