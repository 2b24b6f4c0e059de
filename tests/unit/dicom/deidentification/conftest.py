"""A CT image that says whose it is wherever a data set can."""

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from gateway.dicom.deidentification import Pseudonyms


@pytest.fixture(scope="session")
def pseudonyms() -> Pseudonyms:
    return Pseudonyms(bytes(32))


@pytest.fixture
def image() -> Dataset:
    """A small CT image of one patient."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3.4.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.5"
    dataset.FrameOfReferenceUID = "1.2.3.4.6"
    dataset.PatientName, dataset.PatientID = "Grünwald^Ottilie", "MRN-48151623"
    dataset.PatientBirthDate, dataset.PatientSex = "19520317", "F"
    dataset.AccessionNumber, dataset.StudyID = "ACC-2342", "ST-108"
    dataset.ReferringPhysicianName = "Zweig^Stefan"
    dataset.InstitutionName = "Klinikum Sankt Elsewhere"
    dataset.StudyDate, dataset.StudyTime = "20240229", "101112"
    dataset.AcquisitionDateTime = "20240229101213.5+0100"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.StudyDescription = "CT Abdomen Frau Grunwald"
    dataset.SeriesDescription = "Abdomen portal venous 3.0"
    dataset.Manufacturer, dataset.DeviceSerialNumber = "SIEMENS", "67060"
    dataset.ConvolutionKernel = "B30f"
    dataset.Rows = dataset.Columns = 2
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(range(8))
    dataset["PixelData"].VR = "OW"
    return dataset
