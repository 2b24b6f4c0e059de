"""Where the instances of a job are, as their data store lists them."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gateway.healthimaging.image_sets import FoundImageSet
from gateway.healthimaging.outcomes import InstanceOutcome
from gateway.healthimaging.outgoing import Outgoing
from gateway.healthimaging.session import Session
from gateway.healthimaging.whereabouts import conflicts, whereabouts

_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long the index of a data store is waited for before a job makes room for others."""

Places = Mapping[str, FoundImageSet]
"""Image sets by the SOP Instance UIDs that they hold."""
Said = Mapping[str, InstanceOutcome]
"""What was answered for instances, by SOP Instance UID."""


async def places_now(session: Session, instances: Iterable[Outgoing], said: Said) -> Places:
    """Return the image sets that hold instances; what is not listed is missing."""
    of_series: dict[tuple[str, str], list[str]] = {}
    for one in instances:
        names = (one.study_instance_uid, one.series_instance_uid)
        of_series.setdefault(names, []).append(one.sop_instance_uid)
    places: dict[str, FoundImageSet] = {}
    for names, uids in of_series.items():
        where = await whereabouts(session, *names)
        for uid in uids:
            image_set = where.of(uid, said[uid].image_set_id if uid in said else "")
            if image_set is not None:
                places[uid] = image_set
    return places


async def places_at_last(session: Session, instances: Sequence[Outgoing], said: Said) -> Places:
    """Return the image sets once all instances are listed, or that has taken too long."""
    places = await places_now(session, instances, said)
    for pause_seconds in _PAUSES_SECONDS:
        if len(places) == len(instances):
            break
        await asyncio.sleep(pause_seconds)
        places = await places_now(session, instances, said)
    return places


async def warnings(
    session: Session, instances: Sequence[Outgoing], places: Places, said: Said
) -> list[str]:
    """Return what is stored otherwise than its sender would expect, in sentences."""
    apart = Counter(
        (places[one.sop_instance_uid].image_set_id, one.study_instance_uid, one.series_instance_uid)
        for one in instances
        if one.sop_instance_uid in places and not places[one.sop_instance_uid].is_primary
    )
    told = []
    for (image_set_id, *names), number in apart.items():
        differing = await conflicts(session, image_set_id, *names)
        told.append(_apart(number, len(instances), image_set_id, differing))
    details = Counter(said[uid].detail for uid in places if uid in said and said[uid].detail)
    return told + [f"{number} stored with a warning: {text}" for text, number in details.items()]


def _apart(number: int, total: int, image_set_id: str, differing: Sequence[str]) -> str:
    """Name an image set that is not primary, and the attributes that keep it apart."""
    why = (
        f"{', '.join(differing)} {'differs' if len(differing) == 1 else 'differ'} from the "
        "study that is there"
        if differing
        else "what differs from the study that is there is not known"
    )
    return (
        f"{number} of {total} instances are in image set {image_set_id}, which is not primary: "
        f"DICOMweb does not show it; {why}"
    )
