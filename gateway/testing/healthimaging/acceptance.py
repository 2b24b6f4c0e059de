"""What a client of the DICOMweb plane accepts."""

from collections.abc import Iterator

from aiohttp import web
from pydicom.uid import ExplicitVRLittleEndian

from gateway.dicomweb.media_type import MediaType
from gateway.testing.healthimaging.errors import NotAcceptableError
from gateway.testing.healthimaging.instances import StoredInstance
from gateway.testing.healthimaging.rendering import Rendering
from gateway.testing.healthimaging.storage import Storage

DICOM_JSON = "application/dicom+json"
_DICOM = "application/dicom"
_MULTIPART = "multipart/related"
_OCTETS = "application/octet-stream"
_ANYTHING = ("*/*", "*")


def require_json(request: web.Request) -> None:
    """Let requests pass whose answer may be DICOM JSON.

    Raises:
        NotAcceptableError: it may not.
    """
    ranges = _ranges(request)
    if ranges and not any(
        one.covers(DICOM_JSON) or one.name == "application/json" for one in ranges
    ):
        raise NotAcceptableError(f"the answer is {DICOM_JSON}")


def instance_rendering(
    request: web.Request, instance: StoredInstance, storage: Storage
) -> Rendering:
    """Choose how an instance is given as a file, which is the whole body of the answer.

    Raises:
        NotAcceptableError: not as any of what the client accepts.
    """
    return _first(instance, _wishes(request, of_frames=False), storage)


def frame_rendering(request: web.Request, instance: StoredInstance, storage: Storage) -> Rendering:
    """Choose how frames are given, in parts of a multipart body.

    Raises:
        NotAcceptableError: not as any of what the client accepts.
    """
    return _first(instance, _wishes(request, of_frames=True), storage)


def _first(instance: StoredInstance, wishes: Iterator[str], storage: Storage) -> Rendering:
    refusal: NotAcceptableError | None = None
    for wish in wishes:
        try:
            return Rendering.of(instance, wish, storage)
        except NotAcceptableError as error:
            refusal = refusal or error
    raise refusal or NotAcceptableError("the answer has none of the media types in Accept")


def _wishes(request: web.Request, *, of_frames: bool) -> Iterator[str]:
    """Give the transfer syntaxes that a client accepts, in its order."""
    ranges = _ranges(request)
    if not ranges:
        yield str(ExplicitVRLittleEndian)
    for one in ranges:
        if one.name in _ANYTHING or (_is_frames(one) if of_frames else one.name == _DICOM):
            yield one.parameters.get("transfer-syntax", str(ExplicitVRLittleEndian))


def _is_frames(one: MediaType) -> bool:
    return one.name == _MULTIPART and one.parameters.get("type", _OCTETS) == _OCTETS


def _ranges(request: web.Request) -> tuple[MediaType, ...]:
    return MediaType.parse_list(", ".join(request.headers.getall("Accept", [])))
