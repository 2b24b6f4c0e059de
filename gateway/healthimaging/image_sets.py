"""Image sets of a data store: found by search, asked for their state, read for their metadata."""

import json
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from gateway.errors import PeerRefused
from gateway.healthimaging.data_store import Plane
from gateway.healthimaging.metadata import InstanceMetadata, image_set_instances
from gateway.healthimaging.session import Answer, Request, Session

_PAGE = 50
_LARGEST_PAGE_BYTES = 1 << 24
_DAY_SECONDS = 86400.0
_JSON = {"Content-Type": "application/json"}
_DAY = ("000000.000000", "235959.999999")
"""Its first and its last time (PS3.5 section 6.2, TM)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSetQuery:
    """What image sets are searched by: values that match exactly, all of them.

    The service takes one of them together with one range of dates; what else is given is compared
    here. None given: every image set.
    """

    study_instance_uid: str = ""
    series_instance_uid: str = ""
    accession_number: str = ""
    patient_id: str = ""
    study_id: str = ""
    study_dates: tuple[str, str] | None = None
    """First and last Study Date, as 20260131."""
    updated_from: float | None = None
    """Only what changed at this time or later, in seconds since 1970, in the order of changes."""
    primary_only: bool = True
    """Whether image sets that conflict with another of their study are left out."""

    @property
    def given(self) -> dict[str, str]:
        """What is searched by, under the service's names, the most selective first."""
        values = {
            "DICOMSeriesInstanceUID": self.series_instance_uid,
            "DICOMStudyInstanceUID": self.study_instance_uid,
            "DICOMAccessionNumber": self.accession_number,
            "DICOMStudyId": self.study_id,
            "DICOMPatientId": self.patient_id,
        }
        return {name: value for name, value in values.items() if value}

    def criteria(self) -> dict[str, Any]:
        """Return the search criteria of SearchImageSets (AWS HealthImaging API Reference)."""
        filters: list[dict[str, Any]] = [
            {"operator": "EQUAL", "values": [{name: value}]}
            for name, value in list(self.given.items())[:1]
        ]
        bounds = self._range()
        if bounds or not filters:
            filters.append({"operator": "BETWEEN", "values": bounds or _until_now("createdAt", 0)})
        field = "createdAt" if self.updated_from is None else "updatedAt"
        return {"filters": filters, "sort": {"sortField": field, "sortOrder": "ASC"}}

    def _range(self) -> list[dict[str, Any]]:
        """Return the one range that the service is asked for: the narrower of the two."""
        if self.study_dates is not None and not self.updated_from:
            moments = zip(self.study_dates, _DAY, strict=True)
            return [
                {"DICOMStudyDateAndTime": {"DICOMStudyDate": date, "DICOMStudyTime": time_of_day}}
                for date, time_of_day in moments
            ]
        return [] if self.updated_from is None else _until_now("updatedAt", self.updated_from)

    def holds(self, found: "FoundImageSet") -> bool:
        """Tell whether a search result is one of those that are wanted."""
        if self.primary_only and not found.is_primary:
            return False
        if self.updated_from is not None and found.updated_at < self.updated_from:
            return False
        tags = found.tags
        if not all(str(tags.get(name, value)) == value for name, value in self.given.items()):
            return False
        if self.study_dates is None:
            return True
        first, last = self.study_dates
        return first <= str(tags.get("DICOMStudyDate") or "") <= last


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImageSet:
    """An image set as a search finds it; ``tags`` may hold patient data."""

    image_set_id: str
    version: int
    is_primary: bool
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    series_number: int | None
    updated_at: float
    """When it changed last, in seconds since 1970."""
    tags: Mapping[str, Any]
    """``DICOMTags`` of the search result, under the service's names."""

    @classmethod
    def read(cls, summary: Mapping[str, Any]) -> Self:
        """Read one of the ``imageSetsMetadataSummaries``."""
        tags = summary.get("DICOMTags") or {}
        return cls(
            image_set_id=summary["imageSetId"],
            version=int(summary.get("version") or 1),
            is_primary=bool(summary.get("isPrimary", True)),
            study_instance_uid=str(tags.get("DICOMStudyInstanceUID") or ""),
            series_instance_uid=str(tags.get("DICOMSeriesInstanceUID") or ""),
            modality=str(tags.get("DICOMSeriesModality") or ""),
            series_number=tags.get("DICOMSeriesNumber"),
            updated_at=float(summary.get("updatedAt") or summary.get("createdAt") or 0),
            tags=tags,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSetProperties:
    """The state of an image set (GetImageSet)."""

    image_set_id: str
    version: str
    state: str
    """``ACTIVE``, ``LOCKED`` while it is changed, or ``DELETED``."""
    workflow_status: str
    is_primary: bool
    message: str


async def search_image_sets(
    session: Session, query: ImageSetQuery | None = None
) -> AsyncGenerator[FoundImageSet, None]:
    """Give every image set that matches, page by page, each once.

    The index that is searched may lag behind imports and deletions.

    Raises:
        AccessRefused, NotFound, PeerRefused: the data store does not answer such a search.
        PeerBusy, PeerUnavailable: it may answer later.
    """
    wanted = query or ImageSetQuery()
    seen: set[str] = set()
    token = ""
    while True:
        page = await _page(session, wanted, token)
        for summary in page.get("imageSetsMetadataSummaries") or ():
            found = FoundImageSet.read(summary)
            if found.image_set_id not in seen and wanted.holds(found):
                seen.add(found.image_set_id)
                yield found
        token = str(page.get("nextToken") or "")
        if not token:
            return


async def image_set_properties(
    session: Session, image_set_id: str, version: str | None = None
) -> ImageSetProperties:
    """Return the state of an image set, at its latest or another version.

    Raises the errors of `search_image_sets`; NotFound where there is none of this name.
    """
    request = _image_set_request(session, image_set_id, "getImageSet", version)
    said = _json(session, request, await session.answer(request))
    return ImageSetProperties(
        image_set_id=image_set_id,
        version=str(said.get("versionId", "")),
        state=str(said.get("imageSetState", "")),
        workflow_status=str(said.get("imageSetWorkflowStatus", "")),
        is_primary=bool(said.get("isPrimary", True)),
        message=str(said.get("message", "")),
    )


async def image_set_metadata(
    session: Session, image_set_id: str, version: str | None = None
) -> list[InstanceMetadata]:
    """Return the instances of all series of an image set, in their order.

    An image set that is still being processed after its import is asked for again.

    Raises the errors of `search_image_sets`; NotFound where there is none of this name.
    """
    request = _image_set_request(session, image_set_id, "getImageSetMetadata", version)
    answer = await session.answer(request)
    return image_set_instances(answer.body, image_set_id)


async def fetched_frame(session: Session, image_set_id: str, frame_id: str) -> bytes:
    """Return a frame as the data store has it encoded.

    Raises the errors of `search_image_sets`; NotFound where there is no such frame.
    """
    request = Request(
        url=session.data_store.image_set_url(image_set_id, "getImageFrame"),
        subject=f"frame {frame_id} of image set {image_set_id}",
        headers=_JSON,
        body=json.dumps({"imageFrameId": frame_id}).encode(),
    )
    return (await session.answer(request)).body


def _until_now(field: str, since: float) -> list[dict[str, Any]]:
    """Return a range that ends beyond now: clocks differ."""
    return [{field: since}, {field: time.time() + _DAY_SECONDS}]


async def _page(session: Session, query: ImageSetQuery, token: str) -> Mapping[str, Any]:
    store = session.data_store
    more = {"nextToken": token} if token else {}
    words = ("datastore", store.datastore_id, "searchImageSets")
    request = Request(
        url=store.url(Plane.RUNTIME, *words, maxResults=str(_PAGE), **more),
        subject="search for image sets",
        headers=_JSON,
        body=json.dumps(query.criteria()).encode(),
        confidential=(query.patient_id, query.accession_number, query.study_id),
        most_bytes=_LARGEST_PAGE_BYTES,
    )
    return _json(session, request, await session.answer(request))


def _image_set_request(
    session: Session, image_set_id: str, action: str, version: str | None
) -> Request:
    query = {} if version is None else {"version": version}
    return Request(
        url=session.data_store.image_set_url(image_set_id, action, **query),
        subject=f"image set {image_set_id}",
        headers=_JSON,
    )


def _json(session: Session, request: Request, answer: Answer) -> Mapping[str, Any]:
    try:
        said = json.loads(answer.body)
    except ValueError as error:
        raise PeerRefused(
            f"{request.subject}: {session.data_store} answered with something else than JSON"
        ) from error
    return said if isinstance(said, dict) else {}
