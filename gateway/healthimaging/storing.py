"""Instances sent by STOW-RS: in parts, several at once, none twice that is there already."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from gateway.errors import PeerBusy, PeerUnavailable, Transient
from gateway.healthimaging.data_store import Plane
from gateway.healthimaging.listing import listed_instances
from gateway.healthimaging.outcomes import InstanceOutcome, Outcome
from gateway.healthimaging.outgoing import Outgoing
from gateway.healthimaging.parts import LARGEST_STORE_REQUEST_BYTES
from gateway.healthimaging.retries import NO_RETRIES, Retries
from gateway.healthimaging.session import Answer, Request, Session
from gateway.healthimaging.store_body import StoreBody
from gateway.healthimaging.store_result import is_store_result, store_outcomes

AT_ONCE = 4
"""Requests at once: each has at most one megabyte of its body in memory."""
_ANSWER_SECONDS = 300.0
"""The service stores before it answers, up to 1 GB."""
_ANSWERS = (200, 202, 409)
_LARGEST_ANSWER_BYTES = 1 << 26
PATIENCE = Retries(first_seconds=0.5, longest_seconds=8.0, give_up_seconds=30.0)

Outcomes = dict[str, InstanceOutcome]
"""What became of instances, by SOP Instance UID."""
Part = Sequence[Outgoing]
Answered = Callable[[int, Outcomes], Awaitable[None]]
"""Is told what became of the part of a number, as soon as that is known."""


class StoreRequests:
    """The STOW-RS requests of one delivery."""

    def __init__(
        self,
        session: Session,
        answered: Answered,
        *,
        superseding: Collection[str] = (),
        retries: Retries = PATIENCE,
    ) -> None:
        """Send over a session; ``superseding`` are instances of which other bytes are there."""
        self._session = session
        self._answered = answered
        self._superseding = frozenset(superseding)
        self._retries = retries
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._ended: Transient | None = None

    async def send(self, parts: Sequence[Part]) -> None:
        """Send all parts; each is told of when it is answered.

        Raises:
            AccessRefused, NotFound, PeerRefused: nothing can be stored until a person changes
                something; what was under way is dropped.
            PeerBusy, PeerUnavailable: the data store is not there for the moment; what was not
                answered may have been stored.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for number, part in enumerate(parts):
                    tasks.create_task(self._one(number, part))
        except BaseExceptionGroup as group:
            # They come from one cause: the first says what it is.
            raise group.exceptions[0] from None
        if self._ended is not None:
            raise self._ended

    async def _one(self, number: int, part: Part) -> None:
        async with self._slots:
            if self._ended is not None:
                return
            try:
                outcomes = await self._stored(part)
            except Transient as error:
                # What others have under way may be answered all the same.
                self._ended = error
                return
            await self._answered(number, outcomes)

    async def _stored(self, part: Part) -> Outcomes:
        """Send a part until each instance of it has an outcome."""
        outcomes = {
            one.sop_instance_uid: _too_large(one)
            for one in part
            if one.size_bytes > LARGEST_STORE_REQUEST_BYTES
        }
        began, attempt = time.monotonic(), 1
        while left := [one for one in part if one.sop_instance_uid not in outcomes]:
            try:
                outcomes |= await self._answer(left)
                error: Transient = PeerUnavailable(
                    f"{self._session.data_store} answered a store request without a word about "
                    f"{len(left)} of its instances"
                )
            except Transient as refused:
                error = refused
            left = [one for one in left if one.sop_instance_uid not in outcomes]
            if not left:
                break
            if not isinstance(error, PeerBusy):
                # It may have stored them: a repetition would make another version.
                outcomes |= await self.listed(left)
            pause = self._retries.pause_seconds(attempt)
            if time.monotonic() - began + pause > self._retries.give_up_seconds:
                raise error
            await asyncio.sleep(pause)
            attempt += 1
        return outcomes

    async def listed(self, instances: Sequence[Outgoing]) -> Outcomes:
        """Return which of these the data store lists already, with the bytes that are sent."""
        names = {(one.study_instance_uid, one.series_instance_uid) for one in instances}
        there = [await listed_instances(self._session, study, series) for study, series in names]
        sent = {one.sop_instance_uid for one in instances}
        listed = sent.intersection(frozenset().union(*there)) - self._superseding
        return {uid: InstanceOutcome(outcome=Outcome.STORED) for uid in sorted(listed)}

    async def _answer(self, instances: Sequence[Outgoing]) -> Outcomes:
        body = StoreBody(instances)
        data_store = self._session.data_store
        request = Request(
            url=data_store.url(Plane.DICOMWEB, "datastore", data_store.datastore_id, "studies"),
            subject=f"{len(instances)} instances to store",
            headers={
                "Accept": "application/dicom+json",
                "Content-Type": body.content_type,
                "Content-Length": str(body.size_bytes),
            },
            body=body.stream,
            payload_sha256=await asyncio.to_thread(body.sha256),
            accepted=_ANSWERS,
            silence_seconds=_ANSWER_SECONDS,
            most_bytes=_LARGEST_ANSWER_BYTES,
        )
        answer = await self._session.answer(request, NO_RETRIES)
        document = _document(answer)
        if answer.status == 409 and not is_store_result(document):
            raise PeerBusy(
                f"{data_store} cannot store now what it still processes, or has locked (HTTP 409)"
            )
        return store_outcomes(document, [one.sop_instance_uid for one in instances])


def _document(answer: Answer) -> Any:
    """Return the answer's JSON; what cannot be read says nothing of any instance."""
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def _too_large(instance: Outgoing) -> InstanceOutcome:
    return InstanceOutcome(
        outcome=Outcome.REFUSED,
        detail=(
            f"{instance.size_bytes / 1e9:.1f} GB is more than STOW-RS takes there (1 GB); "
            'upload = "import-job" takes more'
        ),
    )
