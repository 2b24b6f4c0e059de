"""Instances on their way to a data store of AWS HealthImaging, and the proof that they are there.

What an answer calls stored is not taken for done: a job is, when the data store lists each of its
instances in an image set.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from gateway.healthimaging.buckets import Buckets
from gateway.healthimaging.data_store import DataStore
from gateway.healthimaging.outcomes import InstanceOutcome, Outcome
from gateway.healthimaging.outgoing import Outgoing
from gateway.healthimaging.retries import Retries
from gateway.healthimaging.session import Session
from gateway.healthimaging.storing import PATIENCE
from gateway.settings import HealthImagingNode
from gateway.store import Instance, Job, JobState, NodeStore
from gateway.store.image_sets import Placement
from gateway.store.uploads import Upload
from gateway.workflow.attempt import Attempt
from gateway.workflow.cloud_goods import Goods
from gateway.workflow.cloud_listing import Places, places_at_last, places_now, warnings
from gateway.workflow.cloud_uploads import ImportUploads, StoreUploads, Uploads
from gateway.workflow.outbound import Outbound

_MOST_REASONS = 3
_LISTED_AGAIN_SECONDS = 30.0
_SHORTEST_CONFIDENTIAL = 3

Outcomes = Mapping[str, InstanceOutcome]


class CloudDelivery:
    """How instances get to one data store."""

    def __init__(
        self,
        store: NodeStore,
        name: str,
        node: HealthImagingNode,
        outbound: Outbound,
        retries: Retries = PATIENCE,
    ) -> None:
        self._store = store
        self._name = name
        self._node = node
        self._data_store = DataStore.from_node(name, node)
        self._buckets = Buckets(self._data_store)
        self._outbound = outbound
        self._retries = retries

    def attempt(self, job: Job, instances: Sequence[Instance]) -> Attempt:
        """Send what is not there yet, and see what is.

        Raises:
            AccessRefused, NotFound, PeerRefused: a person has to change something first.
            PeerBusy, PeerUnavailable: the data store is not there for the moment.
            DeidentificationRefused, PseudonymUnknown, KeyUnusable: as `Outbound.prepared`.
        """
        with self._outbound.prepared(job, instances) as prepared:
            goods = Goods.of(self._store, job, instances, prepared)
            attempt = asyncio.run(self._attempt(job, goods))
            if attempt.again_in_seconds is not None:
                prepared.keep()
        return attempt

    async def _attempt(self, job: Job, goods: Goods) -> Attempt:
        async with Session(self._data_store) as session:
            ways = self._ways(session, goods)
            before = self._store.uploads.of_job(job)
            missing = await self._missing(goods, before, session, ways.most_tries)
            parts = [
                {one.sop_instance_uid: goods.key(one.sop_instance_uid) for one in part}
                for part in ways.cut(missing)
            ]
            new = self._store.uploads.prepare(job, parts)
            under_way = await ways.carry_on(before, new)
            if under_way is not None:
                return Attempt(
                    state=JobState.WAITING,
                    error=under_way.reason,
                    results=job.results,
                    again_in_seconds=under_way.look_again_seconds,
                )
            outcomes = latest(self._store.uploads.of_job(job), goods, ways.most_tries)
            attempt = await self._verified(goods, outcomes, session)
        hidden = self._store.series.patient_values(job.series_instance_uid)
        return replace(
            attempt,
            error=without(attempt.error, hidden),
            warning=without(attempt.warning, hidden),
        )

    def _ways(self, session: Session, goods: Goods) -> Uploads:
        if self._node.upload == "stow":
            sent = self._store.image_sets.contents(self._name, goods.outgoing)
            other = sent.keys() - goods.unchanged(sent)
            return StoreUploads(
                self._store.uploads, session, goods, superseding=other, retries=self._retries
            )
        return ImportUploads(
            self._store.uploads, session, goods, node=self._node, buckets=self._buckets
        )

    async def _missing(
        self, goods: Goods, before: Sequence[Upload], session: Session, most_tries: int
    ) -> list[Outgoing]:
        """Return what needs an upload: what none has, or what failed in the last that had it.

        An instance whose content has changed since, or that came since, has none.
        """
        sent = latest(before, goods, most_tries)
        is_open = {
            uid for one in before if not one.outcomes for uid in goods.unchanged(one.instances)
        }
        failed = {uid for uid, last in sent.items() if last.outcome is Outcome.FAILED}
        others = [uid for uid in goods.outgoing if uid not in sent and uid not in is_open]
        there = await self._there_already(goods, others, session)
        return goods.named([uid for uid in others if uid not in there] + sorted(failed - is_open))

    async def _there_already(
        self, goods: Goods, uids: Sequence[str], session: Session
    ) -> Collection[str]:
        """Return what an earlier job sent with the same bytes, and the data store still has."""
        same = goods.unchanged(self._store.image_sets.contents(self._name, uids))
        return await places_now(session, goods.named(same), {}) if same else ()

    async def _verified(self, goods: Goods, outcomes: Outcomes, session: Session) -> Attempt:
        """Look for what was stored, note where it is, and conclude from that."""
        bad = {uid: one for uid, one in outcomes.items() if one.outcome is not Outcome.STORED}
        expected = goods.named(uid for uid in goods.outgoing if uid not in bad)
        places = await places_at_last(session, expected, outcomes)
        self._note(goods, places)
        told = await warnings(session, expected, places, outcomes)
        return replace(
            concluded(goods, places, bad),
            results=tuple(goods.outgoing[uid].kept_uid for uid in places),
            warning="; ".join(told),
        )

    def _note(self, goods: Goods, places: Places) -> None:
        of_series: dict[str, list[Placement]] = {}
        for uid, image_set in places.items():
            kept = goods.kept[uid]
            placement = Placement(
                sop_instance_uid=uid,
                object_key=goods.key(uid),
                image_set_id=image_set.image_set_id,
                version=image_set.version,
                is_primary=image_set.is_primary,
            )
            of_series.setdefault(kept.series_instance_uid, []).append(placement)
        for series_instance_uid, placements in of_series.items():
            self._store.image_sets.note(self._name, series_instance_uid, placements)


def latest(uploads: Sequence[Upload], goods: Goods, most_tries: int) -> dict[str, InstanceOutcome]:
    """Return the last outcome of each instance with its content of now.

    What failed too often counts as refused.
    """
    outcomes: dict[str, InstanceOutcome] = {}
    failures: Counter[str] = Counter()
    for upload in uploads:
        for uid in goods.unchanged(upload.instances).intersection(upload.outcomes):
            outcome = InstanceOutcome.read(upload.outcomes[uid])
            if outcome.outcome is Outcome.FAILED:
                failures[uid] += 1
                if failures[uid] >= most_tries:
                    detail = f"{outcome.detail} ({failures[uid]} times)"
                    outcome = InstanceOutcome(outcome=Outcome.REFUSED, detail=detail)
            outcomes[uid] = outcome
    return outcomes


def concluded(goods: Goods, places: Places, bad: Outcomes) -> Attempt:
    """Turn what is where, and what was refused, into the state of a job.

    What is stored and not listed yet is looked for again, and so is nobody's failure; one that
    was refused never holds back the others.
    """
    said = f"{len(places)} of {len(goods.outgoing)} stored"
    unseen = len(goods.outgoing) - len(places) - len(bad)
    if any(one.outcome is Outcome.FAILED for one in bad.values()):
        return Attempt(state=JobState.WAITING, error=f"{said}: {_reasons(bad)}")
    if unseen:
        return Attempt(
            state=JobState.WAITING,
            error=f"{said}: {unseen} are accepted, and the data store does not list them yet",
            again_in_seconds=_LISTED_AGAIN_SECONDS,
        )
    if bad:
        return Attempt(state=JobState.DEAD, error=f"{said}: {_reasons(bad)}")
    return Attempt(state=JobState.DONE)


def _reasons(bad: Outcomes) -> str:
    reasons = list(dict.fromkeys(one.detail for one in bad.values()))
    more = f" and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
    return f"{'; '.join(reasons[:_MOST_REASONS])}{more}"


def without(text: str, confidential: Collection[str]) -> str:
    """Return a message without values of the patient, which a service may repeat."""
    for value in sorted(confidential, key=len, reverse=True):
        if len(value) >= _SHORTEST_CONFIDENTIAL:
            text = text.replace(value, "(hidden)")
    return text
