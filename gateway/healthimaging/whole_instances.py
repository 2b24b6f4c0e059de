"""Pixel data of instances whose frames the service could not take apart at their import.

It keeps such pixel data as it came, and gives it out with the whole object only (AWS
HealthImaging, "Import warnings": B100, B110, B111, B112, B120).
"""

from collections.abc import Sequence
from io import BytesIO

from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from gateway.dicom.elements import PARSE_ERRORS
from gateway.errors import FrameUnreadable
from gateway.healthimaging.data_store import Plane
from gateway.healthimaging.elements import element
from gateway.healthimaging.metadata import InstanceMetadata
from gateway.healthimaging.session import Request, Session

_PIXEL_DATA = 0x7FE00010


def has_unseparated_pixels(metadata: InstanceMetadata) -> bool:
    """Tell whether an instance is an image, and the data store has no frames of it."""
    words = ("Rows", "Columns", "BitsAllocated")
    return not metadata.frames and all(metadata.value(word) is not None for word in words)


async def fetched_pixel_data(
    session: Session, image_set_id: str, metadata: InstanceMetadata
) -> tuple[str, Sequence[RawDataElement]]:
    """Return the pixel data of an instance as it was imported, and its transfer syntax.

    Nothing where the object has none.

    Raises:
        FrameUnreadable: what comes is no DICOM, or big endian.
        AccessRefused, NotFound, PeerBusy, PeerRefused, PeerUnavailable: as for all requests.
    """
    uids = ("studies", metadata.study_instance_uid, "series", metadata.series_instance_uid)
    words = ("datastore", session.data_store.datastore_id, *uids)
    request = Request(
        method="GET",
        url=session.data_store.url(
            Plane.DICOMWEB,
            *words,
            "instances",
            metadata.sop_instance_uid,
            imageSetId=image_set_id,
        ),
        subject="the whole object",
        headers={"Accept": "application/dicom; transfer-syntax=*"},
    )
    return _pixel_data((await session.answer(request)).body)


def _pixel_data(part10: bytes) -> tuple[str, Sequence[RawDataElement]]:
    found: DataElement | RawDataElement | None = None
    try:
        dataset = dcmread(BytesIO(part10))
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        if _PIXEL_DATA in dataset:
            found = dataset.get_item(_PIXEL_DATA)
    except (InvalidDicomError, *PARSE_ERRORS) as error:
        raise FrameUnreadable("the data store gave something else than its DICOM file") from error
    if syntax == ExplicitVRBigEndian:
        raise FrameUnreadable("its pixel data is big endian, and the data store left it so")
    kept = str(syntax if syntax.is_encapsulated else ExplicitVRLittleEndian)
    if not isinstance(found, RawDataElement):
        return kept, ()
    vr = str(found.VR or "OW")
    return kept, [element(_PIXEL_DATA, vr, found.value or b"", found.length)]
