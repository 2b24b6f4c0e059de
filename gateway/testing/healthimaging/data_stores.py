"""Data stores: what one of them holds, and how it is described."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.testing.healthimaging.behaviour import Behaviour, StorageFormat
from gateway.testing.healthimaging.errors import NotFoundError
from gateway.testing.healthimaging.grouping import Grouping, Placement
from gateway.testing.healthimaging.identifiers import data_store_arn, new_identifier
from gateway.testing.healthimaging.image_sets import ImageSet, State
from gateway.testing.healthimaging.instances import StoredInstance


class DataStoreStatus(StrEnum):
    """Where a data store is in its life."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    DELETING = "DELETING"
    DELETED = "DELETED"


@dataclass(kw_only=True, slots=True, eq=False)
class DataStore:
    """A data store with its image sets by identifier; times are seconds since 1970."""

    name: str
    behaviour: Behaviour
    created_at: float
    storage_format: StorageFormat = StorageFormat.HTJ2K
    kms_key_arn: str | None = None
    authorizer_arn: str | None = None
    identifier: str = field(default_factory=new_identifier)
    status: DataStoreStatus = DataStoreStatus.ACTIVE
    image_sets: dict[str, ImageSet] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its Amazon Resource Name."""
        behaviour = self.behaviour
        return data_store_arn(behaviour.region, behaviour.account_id, self.identifier)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no image set that is not deleted."""
        return all(one.state is State.DELETED for one in self.image_sets.values())

    def image_set(self, identifier: str) -> ImageSet:
        """Return an image set, also a deleted one.

        Raises:
            NotFoundError: it is not here.
        """
        found = self.image_sets.get(identifier)
        if found is None:
            raise NotFoundError(f"image set {identifier} does not exist")
        return found

    def add(self, instances: Sequence[StoredInstance], now: float) -> list[Placement]:
        """Take the instances of one import, and return where each went."""
        grouping = Grouping(self.image_sets.values(), now)
        placements = grouping.place(instances)
        for image_set in grouping.image_sets:
            self.image_sets[image_set.identifier] = image_set
            image_set.processed_at = now + self.behaviour.processing_seconds
            image_set.found_from = now + self.behaviour.search_lag_seconds
        return placements

    def primary(self, now: float) -> list[ImageSet]:
        """Return the image sets that DICOMweb searches find, the last changed one first."""
        found = [one for one in self.image_sets.values() if one.is_primary and one.is_there]
        known = [one for one in found if one.found_from <= now]
        return sorted(known, key=lambda one: one.updated_at, reverse=True)
