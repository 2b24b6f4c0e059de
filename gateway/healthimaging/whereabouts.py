"""In which image set each instance of a series is: what was sent is held against what is there.

What conflicts with a study that is there goes to an image set that is not primary: DICOMweb does
not show it (AWS HealthImaging, "Primary and non-primary image sets").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import NotFound
from gateway.healthimaging.image_sets import (
    FoundImageSet,
    ImageSetQuery,
    image_set_metadata,
    search_image_sets,
)
from gateway.healthimaging.listing import listed_instances
from gateway.healthimaging.metadata import InstanceMetadata
from gateway.healthimaging.session import Session

_OF_STUDY = ("PatientID", "StudyDate", "AccessionNumber", "StudyID")
_OF_SERIES = ("SeriesNumber",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Whereabouts:
    """Where the instances of a series are now."""

    image_sets: Mapping[str, FoundImageSet]
    """Those that hold instances of the series, by id."""
    holders: Mapping[str, Sequence[str]]
    """Ids of the image sets that hold an instance, the last changed first, by SOP Instance UID."""

    def of(self, sop_instance_uid: str, said: str = "") -> FoundImageSet | None:
        """Return the image set that an instance went to last, or the one that was ``said``."""
        held_by = self.holders.get(sop_instance_uid, ())
        chosen = said if said in held_by else next(iter(held_by), None)
        return None if chosen is None else self.image_sets[chosen]


async def whereabouts(
    session: Session, study_instance_uid: str, series_instance_uid: str
) -> Whereabouts:
    """Find out where the instances of a series are.

    Raises:
        GatewayError: see `Session.answer`.
    """
    query = ImageSetQuery(series_instance_uid=series_instance_uid, primary_only=False)
    found = [one async for one in search_image_sets(session, query)]
    primary = [one for one in found if one.is_primary]
    holders: dict[str, list[str]] = {}
    for image_set in sorted(found, key=lambda one: one.updated_at, reverse=True):
        if primary == [image_set]:
            # What its metadata says too, which is some megabytes for a long series.
            held = await listed_instances(session, study_instance_uid, series_instance_uid)
        else:
            held = await _held(session, image_set)
        for uid in held:
            holders.setdefault(uid, []).append(image_set.image_set_id)
    return Whereabouts(image_sets={one.image_set_id: one for one in found}, holders=holders)


async def conflicts(
    session: Session, image_set_id: str, study_instance_uid: str, series_instance_uid: str
) -> tuple[str, ...]:
    """Return by which attributes an image set differs from the study that is there.

    Their names, never their values.

    Raises:
        GatewayError: see `Session.answer`.
    """
    query = ImageSetQuery(study_instance_uid=study_instance_uid)
    of_study = [one async for one in search_image_sets(session, query)]
    same = [one for one in of_study if one.series_instance_uid == series_instance_uid]
    reference = next(iter(same or of_study), None)
    if reference is None:
        return ()
    mine = await image_set_metadata(session, image_set_id)
    theirs = await image_set_metadata(session, reference.image_set_id)
    return conflicting_attributes(mine[0], theirs[0]) if mine and theirs else ()


def conflicting_attributes(mine: InstanceMetadata, theirs: InstanceMetadata) -> tuple[str, ...]:
    """Return the names of the attributes that keep two image sets apart.

    Those are what the service compares: of the series only where both are of the same.
    """
    is_same_series = mine.series_instance_uid == theirs.series_instance_uid
    compared = _OF_STUDY + (_OF_SERIES if is_same_series else ())
    return tuple(name for name in compared if _text(mine, name) != _text(theirs, name))


async def _held(session: Session, image_set: FoundImageSet) -> frozenset[str]:
    try:
        metadata = await image_set_metadata(session, image_set.image_set_id)
    except NotFound:
        # A search may list for a while what was deleted.
        return frozenset()
    return frozenset(one.sop_instance_uid for one in metadata)


def _text(instance: InstanceMetadata, name: str) -> str:
    return str(instance.value(name) or "").strip()
