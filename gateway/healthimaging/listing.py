"""The instances that DICOMweb lists: those in primary image sets, and no others."""

import json
from collections.abc import Mapping
from typing import Any

from gateway.errors import PeerRefused
from gateway.healthimaging.data_store import Plane
from gateway.healthimaging.session import Answer, Request, Session

_PAGE = 1000
"""Instances of one page at most (AWS HealthImaging, "Searching DICOM data")."""
_LARGEST_PAGE_BYTES = 1 << 26
_SOP_INSTANCE_UID = "00080018"
# A study that is not there yet is no error to who looks for its instances.
_ACCEPTED = (200, 204, 404)


async def listed_instances(
    session: Session, study_instance_uid: str, series_instance_uid: str
) -> frozenset[str]:
    """Return the SOP Instance UIDs of a series that QIDO-RS lists (PS3.18 section 10.6).

    Raises:
        GatewayError: see `Session.answer`.
    """
    found: set[str] = set()
    offset = 0
    while True:
        page = await _page(session, (study_instance_uid, series_instance_uid), offset)
        found.update(uid for uid in map(_uid, page) if uid)
        offset += len(page)
        if len(page) < _PAGE:
            return frozenset(found)


async def _page(session: Session, names: tuple[str, str], offset: int) -> list[Any]:
    data_store = session.data_store
    study, series = names
    words = ("datastore", data_store.datastore_id, "studies", study, "series", series, "instances")
    query = {"limit": str(_PAGE), "offset": str(offset)}
    answer = await session.answer(
        Request(
            url=data_store.url(Plane.DICOMWEB, *words, **query),
            method="GET",
            subject=f"series {series}",
            headers={"Accept": "application/dicom+json"},
            accepted=_ACCEPTED,
            most_bytes=_LARGEST_PAGE_BYTES,
        )
    )
    return _matches(answer) if answer.status == 200 else []


def _matches(answer: Answer) -> list[Any]:
    if not answer.body:
        return []
    try:
        matches = json.loads(answer.body)
    except ValueError as error:
        raise PeerRefused("a query was answered with something else than JSON") from error
    return matches if isinstance(matches, list) else []


def _uid(match: Any) -> str:
    """Return the SOP Instance UID of a match (PS3.18 section F.2)."""
    element = match.get(_SOP_INSTANCE_UID) if isinstance(match, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    return str(values[0]) if values else ""
