"""How imported instances find their image sets.

Instances of one series go to its primary image set, and make a new version of it. One that says
otherwise of its patient, study or series than the primary image sets do goes to an image set that
is not primary. Source: HealthImaging developer guide, "Understanding DICOM import".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.testing.healthimaging.image_sets import ImageSet, WorkflowStatus
from gateway.testing.healthimaging.instances import StoredInstance

STUDY_ELEMENTS = ("StudyDate", "AccessionNumber", "PatientID", "StudyID")
SERIES_ELEMENTS = ("SeriesNumber",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where an instance went."""

    image_set_id: str
    version: int
    is_primary: bool


@dataclass(kw_only=True, slots=True, eq=False)
class _Draft:
    """The next version of an image set, under way."""

    image_set: ImageSet
    instances: dict[str, StoredInstance] = field(default_factory=dict)

    @property
    def first(self) -> StoredInstance:
        return next(iter(self.instances.values()))


class Grouping:
    """One import: its instances make one version at most of each image set that they go to."""

    def __init__(self, image_sets: Iterable[ImageSet], now: float) -> None:
        self._now = now
        self._primary: dict[tuple[str, str], _Draft] = {}
        self._other: dict[tuple[str, ...], _Draft] = {}
        self._changed: dict[str, _Draft] = {}
        for image_set in image_sets:
            if image_set.is_primary and image_set.is_there:
                draft = _Draft(image_set=image_set, instances=dict(image_set.latest.instances))
                self._primary[_series(draft.first)] = draft

    def place(self, instances: Sequence[StoredInstance]) -> list[Placement]:
        """Make the versions, and return where each instance went.

        Image sets that were not there before are among `image_sets` then.
        """
        drafts = [self._placed(instance) for instance in instances]
        for draft in self._changed.values():
            draft.image_set.add_version(draft.instances, WorkflowStatus.CREATED, self._now)
        return [
            Placement(
                image_set_id=draft.image_set.identifier,
                version=draft.image_set.latest.number,
                is_primary=draft.image_set.is_primary,
            )
            for draft in drafts
        ]

    @property
    def image_sets(self) -> list[ImageSet]:
        """All that this import changed or made."""
        return [draft.image_set for draft in self._changed.values()]

    def _placed(self, instance: StoredInstance) -> _Draft:
        draft = self._draft_for(instance)
        draft.instances[instance.sop_instance_uid] = instance
        self._changed[draft.image_set.identifier] = draft
        return draft

    def _draft_for(self, instance: StoredInstance) -> _Draft:
        if self._conflicts(instance):
            key = (*_series(instance), *_grouping(instance))
            return self._other.setdefault(key, self._new(is_primary=False))
        return self._primary.setdefault(_series(instance), self._new(is_primary=True))

    def _conflicts(self, instance: StoredInstance) -> bool:
        return any(
            conflicting_elements(draft.first, instance)
            for (study, _), draft in self._primary.items()
            if study == instance.study_instance_uid
        )

    def _new(self, *, is_primary: bool) -> _Draft:
        return _Draft(image_set=ImageSet(is_primary=is_primary, created_at=self._now))


def conflicting_elements(one: StoredInstance, other: StoredInstance) -> list[str]:
    """Return in what two instances of one study, and perhaps of one series, must not differ."""
    is_same_series = one.series_instance_uid == other.series_instance_uid
    compared = (*STUDY_ELEMENTS, *(SERIES_ELEMENTS if is_same_series else ()))
    return [keyword for keyword in compared if one.text(keyword) != other.text(keyword)]


def _series(instance: StoredInstance) -> tuple[str, str]:
    return instance.study_instance_uid, instance.series_instance_uid


def _grouping(instance: StoredInstance) -> tuple[str, ...]:
    return tuple(instance.text(one) for one in (*STUDY_ELEMENTS, *SERIES_ELEMENTS))
