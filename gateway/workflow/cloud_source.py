"""A source that is a data store of AWS HealthImaging: what changed there since it was last asked.

Image sets are listed in the order of their changes, from a watermark on: up to that change,
everything is done. Each question begins somewhat before it, since the service's index may lag;
what was fetched is known by its version and not fetched again.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import structlog

from gateway.errors import (
    AccessRefused,
    GatewayError,
    NotFound,
    StoreFull,
    StoreUnavailable,
    Transient,
)
from gateway.healthimaging import (
    DataStore,
    FoundImageSet,
    ImageSetQuery,
    Retries,
    Session,
    search_image_sets,
)
from gateway.settings import HealthImagingNode, Settings, SourceSettings
from gateway.source_query import SourceQuery
from gateway.store import NodeStore
from gateway.store.pulls import Pull
from gateway.workflow.backoff import Backoff
from gateway.workflow.cloud_pull import ImageSetPull, Place

_log = structlog.get_logger()
_OVERLAP_SECONDS = 600.0
"""How far before the watermark every question begins."""
_LONG_OVERLAP_SECONDS = 2 * 86_400.0
"""How far the first one after a start begins, and one an hour: imports may take long."""
_LONG_EVERY_SECONDS = 3600.0
_MOST_AT_ONCE = 500
"""Image sets that are listed before they are fetched."""
_PAGE = 200
_MOST_FAILURES_IN_A_ROW = 2
_RETRIES = Retries(give_up_seconds=20)
_TOLD = MappingProxyType(
    {
        "Modality": "DICOMSeriesModality",
        "BodyPartExamined": "DICOMSeriesBodyPart",
        "SeriesNumber": "DICOMSeriesNumber",
        "StudyDescription": "DICOMStudyDescription",
        "PatientSex": "DICOMPatientSex",
    }
)


@dataclass(kw_only=True, slots=True)
class _Listing:
    """What a question showed."""

    wanted: list[FoundImageSet] = field(default_factory=list)
    undone: list[float] = field(default_factory=list)
    """When those changed that are to be fetched another time."""
    last: float = 0.0
    """When the last one that was listed changed."""
    is_whole: bool = True


class CloudSource:
    """Pulls from one data store, for as long as it is let."""

    def __init__(
        self,
        store: NodeStore,
        name: str,
        settings: Settings,
        patience: Backoff,
        turns: asyncio.Lock,
        process: str,
    ) -> None:
        """Pull as the source of a name says; sources of one data store share ``turns``.

        ``process`` is the name of the process that does it.
        """
        self._store = store
        self._name = name
        self._source = settings.sources[name]
        self._patience = patience
        self._turns = turns
        node = settings.nodes[self._source.node]
        if not isinstance(node, HealthImagingNode):
            raise TypeError(f"sources.{name} is of kind {node.kind}")
        self._data_store = DataStore.from_node(self._source.node, node)
        self._query = SourceQuery.read(self._source.query)
        self._digest = digest_of(self._source, self._data_store)
        self._long_at = 0.0
        self._is_catching_up = False
        self._trouble = ""
        place = Place(
            source=name,
            node=self._source.node,
            datastore_id=node.datastore_id,
            nodes=_nodes_of(settings, node.datastore_id),
        )
        self._pull = ImageSetPull(store, place, patience, process)

    async def run(self) -> None:
        """Look again and again; trouble is logged once, and waited for."""
        failures = 0
        while True:
            pause_seconds = self._source.every_seconds
            try:
                is_whole = await self.look()
            except GatewayError as error:
                failures += 1
                self._note_trouble(error)
                pause_seconds = max(pause_seconds, self._patience.pause_seconds(failures))
            except Exception as error:  # noqa: BLE001 - a source's outermost layer
                failures += 1
                _log.exception("source_broke", source=self._name, reason=type(error).__name__)
                pause_seconds = max(pause_seconds, self._patience.pause_seconds(failures))
            else:
                failures = 0
                self._note_answer()
                pause_seconds = pause_seconds if is_whole else 0.0
            await asyncio.sleep(pause_seconds)

    async def look(self) -> bool:
        """Fetch what is new; return whether that was all of it.

        Raises:
            GatewayError: the data store does not answer, or not to this; or the store is full.
        """
        async with self._turns:
            watermark = await asyncio.to_thread(
                self._store.pulls.watermark, self._name, self._digest
            )
            async with Session(self._data_store, retries=_RETRIES) as session:
                listing = await self._listed(session, watermark or 0.0)
                self._is_catching_up = not listing.is_whole
                await self._fetch(session, listing)
            reached = max(watermark or 0.0, min(listing.last, time.time()))
            updated_until = min([reached, *listing.undone])
            if updated_until != watermark:
                await asyncio.to_thread(
                    self._store.pulls.advance, self._name, self._digest, updated_until
                )
        return listing.is_whole

    async def _listed(self, session: Session, watermark: float) -> _Listing:
        """List what changed and is not done yet, the oldest change first."""
        listing = _Listing()
        is_long = time.monotonic() >= self._long_at and not self._is_catching_up
        overlap_seconds = _LONG_OVERLAP_SECONDS if is_long else _OVERLAP_SECONDS
        wanted = self._search(watermark, max(0.0, watermark - overlap_seconds))
        page: list[FoundImageSet] = []
        async with aclosing(search_image_sets(session, wanted)) as found:
            async for one in found:
                listing.last = max(listing.last, one.updated_at)
                page.append(one)
                if len(page) == _PAGE:
                    await self._sort(page, listing)
                    page = []
                    if len(listing.wanted) >= _MOST_AT_ONCE:
                        listing.is_whole = False
                        return listing
        await self._sort(page, listing)
        if is_long:
            self._long_at = time.monotonic() + _LONG_EVERY_SECONDS
        return listing

    def _search(self, watermark: float, since: float) -> ImageSetQuery:
        values = self._query.values
        now = time.time()
        day = _day(watermark - _OVERLAP_SECONDS) if watermark else _day(now)
        return ImageSetQuery(
            study_instance_uid=values.get("StudyInstanceUID", ""),
            series_instance_uid=values.get("SeriesInstanceUID", ""),
            accession_number=values.get("AccessionNumber", ""),
            patient_id=values.get("PatientID", ""),
            study_id=values.get("StudyID", ""),
            study_dates=self._query.study_dates(day, _day(now)),
            updated_from=since,
            primary_only=self._source.primary_only,
        )

    async def _sort(self, page: Iterable[FoundImageSet], listing: _Listing) -> None:
        """Put aside what is to be fetched now, and what another time."""
        matching = [one for one in page if matches(self._query.values, one.tags)]
        known = await asyncio.to_thread(
            self._store.pulls.known,
            self._data_store.datastore_id,
            [one.image_set_id for one in matching],
        )
        now = time.time()
        for one in matching:
            pull = known.get(one.image_set_id)
            if pull is None or pull.version < one.version:
                listing.wanted.append(one)
            elif pull.wants(one.version, now):
                # Its series has waited for longer than those that are not here at all.
                listing.wanted.insert(0, one)
            elif pull.version == one.version and pull.wants(one.version, float("inf")):
                listing.undone.append(one.updated_at)

    async def _fetch(self, session: Session, listing: _Listing) -> None:
        """Fetch image sets one after the other; one that does not come waits for its time.

        Raises:
            GatewayError: what keeps all of them away.
        """
        failed_in_a_row = 0
        for one in listing.wanted:
            pull = await asyncio.to_thread(
                self._store.pulls.begin,
                self._data_store.datastore_id,
                one.image_set_id,
                one.version,
                source=self._name,
                series_instance_uid=one.series_instance_uid,
            )
            try:
                await self._pull.run(session, one, pull)
            except (AccessRefused, StoreFull, StoreUnavailable):
                raise
            except Transient as error:
                failed_in_a_row += 1
                await asyncio.to_thread(self._wait, pull, error)
                listing.undone.append(one.updated_at)
                if failed_in_a_row >= _MOST_FAILURES_IN_A_ROW:
                    raise
            except GatewayError as error:
                await asyncio.to_thread(self._give_up, pull, error)
            else:
                failed_in_a_row = 0

    def _wait(self, pull: Pull, error: GatewayError) -> None:
        if self._patience.gives_up(pull.attempts, time.time() - pull.begun_at):
            self._give_up(pull, error)
            return
        pause_seconds = self._patience.pause_seconds(pull.attempts)
        self._store.pulls.waits(pull, str(error), time.time() + pause_seconds)

    def _give_up(self, pull: Pull, error: GatewayError) -> None:
        """Let go of an image set; one that is no longer there needs no word."""
        self._store.pulls.done(pull, error=str(error))
        log = _log.info if isinstance(error, NotFound) else _log.warning
        log(
            "image_set_not_pulled",
            source=self._name,
            image_set_id=pull.image_set_id,
            version=pull.version,
            series_instance_uid=pull.series_instance_uid,
            reason=str(error),
        )

    def _note_trouble(self, error: GatewayError) -> None:
        """Log why a source gives nothing, once for as long as it is so."""
        cause = _cause(error)
        if cause != self._trouble:
            self._trouble = cause
            _log.error("source_not_pulled", source=self._name, reason=str(error))

    def _note_answer(self) -> None:
        if self._trouble:
            self._trouble = ""
            _log.info("source_pulled_again", source=self._name)


def _cause(error: GatewayError) -> str:
    """Return what stays the same of an error while its cause does.

    What it is about, as a frame, may be another each time, and so may the free space.
    """
    kind, reason = type(error).__name__, str(error)
    if isinstance(error, StoreFull | StoreUnavailable):
        return kind
    return f"{kind}: {reason.partition(': ')[2] or reason}"


def matches(values: Mapping[str, str], tags: Mapping[str, object]) -> bool:
    """Tell whether an image set is of a query, by what the search told of it.

    What it does not tell of an image set is none of the query's values.
    """
    return all(
        _same(keyword, str(tags.get(told, "")).strip(), values[keyword])
        for keyword, told in _TOLD.items()
        if keyword in values
    )


def _same(keyword: str, found: str, wanted: str) -> bool:
    if keyword == "SeriesNumber":
        return found.lstrip("+-").isdecimal() and int(found) == int(wanted)
    if keyword == "StudyDescription":
        return found == wanted
    # Code strings have no lower case (PS3.5 section 6.2, CS).
    return found.upper() == wanted.upper()


def digest_of(source: SourceSettings, data_store: DataStore) -> str:
    """Return what changes when a source asks for something else."""
    asked = [
        data_store.datastore_id,
        data_store.region,
        data_store.endpoint_url,
        source.primary_only,
        sorted(source.query.items()),
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _nodes_of(settings: Settings, datastore_id: str) -> frozenset[str]:
    return frozenset(
        name
        for name, node in settings.nodes.items()
        if isinstance(node, HealthImagingNode) and node.datastore_id == datastore_id
    )


def _day(seconds: float) -> str:
    """Return the day of a time, in this machine's time zone, as 20260131."""
    return datetime.fromtimestamp(max(0.0, seconds)).strftime("%Y%m%d")
