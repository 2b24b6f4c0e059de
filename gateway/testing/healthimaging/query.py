"""The search transactions of the DICOMweb plane (QIDO-RS, PS3.18 section 10.6).

Source: HealthImaging developer guide, "Searching DICOM data".
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from aiohttp import web

from gateway.testing.healthimaging.acceptance import DICOM_JSON, require_json
from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.answers import path_identifier
from gateway.testing.healthimaging.operation import Operation
from gateway.testing.healthimaging.query_parameters import QueryParameters
from gateway.testing.healthimaging.query_records import QueryLevel, Record, records

_STUDIES = "/datastore/{datastoreId}/studies"
_SERIES = f"{_STUDIES}/{{StudyInstanceUID}}/series"
_STORE = "/datastore/{datastoreId}"
_SEARCHES = (
    ("SearchDICOMStudies", _STUDIES, QueryLevel.STUDY),
    ("SearchDICOMSeries", _SERIES, QueryLevel.SERIES),
    ("SearchDICOMAllSeries", f"{_STORE}/series", QueryLevel.SERIES),
    (
        "SearchDICOMInstances",
        f"{_SERIES}/{{SeriesInstanceUID}}/instances",
        QueryLevel.INSTANCE,
    ),
    (
        "SearchDICOMStudyInstances",
        f"{_STUDIES}/{{StudyInstanceUID}}/instances",
        QueryLevel.INSTANCE,
    ),
    ("SearchDICOMAllInstances", f"{_STORE}/instances", QueryLevel.INSTANCE),
)


class QueryPlane:
    """Answers searches; they find only what is in primary image sets."""

    def __init__(self, account: Account) -> None:
        self._account = account

    @property
    def operations(self) -> Sequence[Operation]:
        """What it answers."""
        return tuple(
            Operation(name, "GET", path, partial(self._search, level))
            for name, path, level in _SEARCHES
        )

    async def _search(self, level: QueryLevel, request: web.Request) -> web.Response:
        require_json(request)
        store = self._account.active_data_store(path_identifier(request, "datastoreId"))
        path = {name: uid for name, uid in request.match_info.items() if name != "datastoreId"}
        parameters = QueryParameters.parse(request.query, level, path)
        found = parameters.found(records(store.primary(self._account.now()), level))
        if not found and self._account.behaviour.answers_empty_search_with_204:
            return web.Response(status=204)
        root = f"{request.scheme}://{request.host}/datastore/{store.identifier}/studies"
        shown = await self._account.work(_shown, found, parameters, root)
        return web.json_response(shown, content_type=DICOM_JSON)


def _shown(found: Sequence[Record], parameters: QueryParameters, root: str) -> list[dict[str, Any]]:
    return [parameters.shown(one.json(root, parameters.wants)) for one in found]
