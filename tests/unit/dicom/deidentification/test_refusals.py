"""What may show or say more than its attributes do is never de-identified silently."""

from datetime import date

import pytest
from pydicom import Dataset
from pydicom import uid as uids

from gateway.dicom.deidentification import DeidentificationReason as Reason
from gateway.dicom.deidentification import Pseudonyms, deidentified
from gateway.errors import DeidentificationRefused
from tests.unit.dicom.deidentification.instances import kept


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, Reason.BURNED_IN_ANNOTATION),
        ({"SOPClassUID": uids.SecondaryCaptureImageStorage}, Reason.MAY_BE_BURNED_IN),
        ({"SOPClassUID": uids.UltrasoundMultiFrameImageStorage}, Reason.MAY_BE_BURNED_IN),
        ({"SOPClassUID": uids.VLEndoscopicImageStorage}, Reason.MAY_BE_BURNED_IN),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, Reason.MAY_BE_BURNED_IN),
        ({"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}, Reason.MAY_BE_BURNED_IN),
        ({"ConversionType": "WSD"}, Reason.MAY_BE_BURNED_IN),
        ({"SOPClassUID": uids.Comprehensive3DSRStorage}, Reason.STRUCTURED_TEXT),
        ({"SOPClassUID": uids.KeyObjectSelectionDocumentStorage}, Reason.STRUCTURED_TEXT),
        ({"SOPClassUID": uids.EncapsulatedPDFStorage}, Reason.ENCAPSULATED_DOCUMENT),
        ({"SOPClassUID": uids.GrayscaleSoftcopyPresentationStateStorage}, Reason.GRAPHICS),
        ({"SOPClassUID": "1.3.12.2.1107.5.9.1"}, Reason.OTHER_CLASS),
        ({"StudyInstanceUID": ""}, Reason.NO_STUDY),
    ],
)
def test_the_table_of_refusals(
    image: Dataset, pseudonyms: Pseudonyms, values: dict[str, object], reason: Reason
) -> None:
    for keyword, value in values.items():
        setattr(image, keyword, value)
    with pytest.raises(DeidentificationRefused) as caught:
        deidentified(kept(image), pseudonyms, date(2026, 3, 1))
    assert caught.value.reason == reason
    assert caught.value.instances == ("1.2.3.4.1",)


def test_objects_without_pixels_are_refused_unless_they_are_known(
    image: Dataset, pseudonyms: Pseudonyms
) -> None:
    del image.PixelData
    image.SOPClassUID = uids.RawDataStorage
    with pytest.raises(DeidentificationRefused, match="other-class"):
        deidentified(kept(image), pseudonyms, date(2026, 3, 1))
    image.SOPClassUID = uids.RTStructureSetStorage
    deidentified(kept(image), pseudonyms, date(2026, 3, 1))


def test_an_overlay_within_the_pixels_is_refused(image: Dataset, pseudonyms: Pseudonyms) -> None:
    image.add_new(0x60000102, "US", 12)
    with pytest.raises(DeidentificationRefused, match="embedded-overlay"):
        deidentified(kept(image), pseudonyms, date(2026, 3, 1))
    image.add_new(0x60003000, "OW", bytes(8))
    deidentified(kept(image), pseudonyms, date(2026, 3, 1))


@pytest.mark.parametrize(
    "values",
    [
        {"SOPClassUID": uids.SecondaryCaptureImageStorage, "BurnedInAnnotation": "NO"},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"ConversionType": "DI"},
    ],
)
def test_images_that_say_no_or_are_usually_clean_are_taken(
    image: Dataset, pseudonyms: Pseudonyms, values: dict[str, object]
) -> None:
    for keyword, value in values.items():
        setattr(image, keyword, value)
    deidentified(kept(image), pseudonyms, date(2026, 3, 1))
