"""Image sets, and the versions that imports and changes make of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.testing.healthimaging.errors import ConflictError, NotFoundError
from gateway.testing.healthimaging.identifiers import new_identifier
from gateway.testing.healthimaging.instances import StoredInstance


class State(StrEnum):
    """Whether an image set can be changed."""

    ACTIVE = "ACTIVE"
    LOCKED = "LOCKED"
    DELETED = "DELETED"


class WorkflowStatus(StrEnum):
    """What was done last to an image set, or is being done."""

    CREATED = "CREATED"
    COPIED = "COPIED"
    COPYING = "COPYING"
    COPYING_WITH_READ_ONLY_ACCESS = "COPYING_WITH_READ_ONLY_ACCESS"
    UPDATING = "UPDATING"
    UPDATED = "UPDATED"
    DELETING = "DELETING"
    DELETED = "DELETED"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Version:
    """What an image set held at a time; instances by SOP Instance UID, in order of arrival."""

    number: int
    instances: Mapping[str, StoredInstance]
    status: WorkflowStatus
    updated_at: float

    @property
    def first(self) -> StoredInstance:
        """The instance that speaks for what all have in common."""
        return next(iter(self.instances.values()))


@dataclass(kw_only=True, slots=True, eq=False)
class ImageSet:
    """Instances of one series; times are seconds since 1970."""

    is_primary: bool
    created_at: float
    identifier: str = field(default_factory=new_identifier)
    versions: list[Version] = field(default_factory=list)
    state: State = State.ACTIVE
    status: WorkflowStatus = WorkflowStatus.CREATED
    message: str = ""
    deleted_at: float | None = None
    processed_at: float = 0.0
    """When its metadata can be read."""
    found_from: float = 0.0
    """When searches know of it."""
    forced: bool = False
    frame_syntaxes: dict[str, str] = field(default_factory=dict)
    """The stored transfer syntax of every frame that any version has, by its identifier."""

    @property
    def latest(self) -> Version:
        """The newest version."""
        return self.versions[-1]

    @property
    def updated_at(self) -> float:
        """When the newest version was made."""
        return self.latest.updated_at

    @property
    def is_there(self) -> bool:
        """Whether it is neither deleted nor about to be."""
        return self.status not in (WorkflowStatus.DELETING, WorkflowStatus.DELETED)

    def version(self, number: str | None) -> Version:
        """Return a version by its number in text, the newest one for None.

        Raises:
            NotFoundError: there is no such version.
        """
        if number is None:
            return self.latest
        for version in self.versions:
            if str(version.number) == number:
                return version
        raise NotFoundError(f"image set {self.identifier} has no version {number}")

    def add_version(
        self, instances: Mapping[str, StoredInstance], status: WorkflowStatus, now: float
    ) -> Version:
        """Make the newest version of these instances."""
        number = self.latest.number + 1 if self.versions else 1
        version = Version(number=number, instances=instances, status=status, updated_at=now)
        self.versions.append(version)
        self.status = status
        for instance in instances.values():
            for frame in instance.frames:
                self.frame_syntaxes[frame.identifier] = instance.stored_transfer_syntax_uid
        return version

    def require_unlocked(self) -> None:
        """Let those pass who would change it.

        Raises:
            ConflictError: somebody is changing it, or it is deleted.
        """
        if self.state is not State.ACTIVE:
            raise ConflictError(f"image set {self.identifier} is {self.state}: {self.status}")
