"""The runtime plane's other half: changing, copying and deleting image sets."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.answers import (
    is_true,
    json_answer,
    json_body,
    path_identifier,
)
from gateway.testing.healthimaging.data_stores import DataStore
from gateway.testing.healthimaging.errors import ConflictError, NotFoundError, ValidationError
from gateway.testing.healthimaging.grouping import conflicting_elements
from gateway.testing.healthimaging.identifiers import require_identifier
from gateway.testing.healthimaging.image_sets import ImageSet, State, WorkflowStatus
from gateway.testing.healthimaging.instances import StoredInstance
from gateway.testing.healthimaging.operation import Operation
from gateway.testing.healthimaging.revision import Revision

_Instances = dict[str, StoredInstance]


class ChangePlane:
    """Answers requests that change image sets; each is locked until the change is done."""

    def __init__(self, account: Account) -> None:
        self._account = account

    @property
    def operations(self) -> Sequence[Operation]:
        """What it answers."""
        one = "/datastore/{datastoreId}/imageSet/{imageSetId}"
        return (
            Operation("DeleteImageSet", "POST", f"{one}/deleteImageSet", self._delete),
            Operation(
                "UpdateImageSetMetadata", "POST", f"{one}/updateImageSetMetadata", self._update
            ),
            Operation("CopyImageSet", "POST", f"{one}/copyImageSet", self._copy),
        )

    async def _delete(self, request: web.Request) -> web.Response:
        store, image_set = self._unlocked(request)
        self._begin_deletion(image_set)
        return json_answer(
            {
                "datastoreId": store.identifier,
                "imageSetId": image_set.identifier,
                "imageSetState": image_set.state,
                "imageSetWorkflowStatus": image_set.status,
            }
        )

    async def _update(self, request: web.Request) -> web.Response:
        store, image_set = self._unlocked(request)
        _require_latest(image_set, request.query.get("latestVersion"))
        body = await json_body(request)
        changes = self._changes(request, store, image_set, body)
        for changed, instances in changes:
            changed.forced = changed.forced or is_true(request, "force")
            changed.add_version(instances, WorkflowStatus.UPDATING, self._account.now())
            changed.state = State.LOCKED
            self._later(_done(changed, WorkflowStatus.UPDATED))
        return json_answer(
            {"datastoreId": store.identifier, **_properties(image_set), "message": None}
        )

    def _changes(
        self, request: web.Request, store: DataStore, image_set: ImageSet, body: Mapping[str, Any]
    ) -> list[tuple[ImageSet, _Instances]]:
        """Return the image sets that an update changes, and what they hold after it."""
        of_study = is_true(request, "includeStudyImageSets")
        reverted = body.get("revertToVersionId")
        if (reverted is None) == ("DICOMUpdates" not in body) or (reverted and of_study):
            raise ValidationError("DICOMUpdates or revertToVersionId is wanted, one of them")
        if reverted is not None:
            return [(image_set, dict(image_set.version(str(reverted)).instances))]
        revision = Revision.parse(
            body["DICOMUpdates"],
            is_forced=is_true(request, "force"),
            is_primary=image_set.is_primary,
        )
        changes = [(image_set, revision.revised(image_set.latest.instances.values()))]
        if of_study:
            shared = revision.of_patient_and_study()
            for other in _others_of_study(store, image_set):
                other.require_unlocked()
                changes.append((other, shared.revised(other.latest.instances.values())))
        if not all(instances for _, instances in changes):
            raise ValidationError("an image set cannot lose its last instance")
        return changes

    async def _copy(self, request: web.Request) -> web.Response:
        store, source = self._unlocked(request)
        body = await json_body(request)
        asked = body.get("sourceImageSet") or {}
        _require_latest(source, asked.get("latestVersionId"))
        instances = _selected(source, asked.get("DICOMCopies"))
        promotes = is_true(request, "promoteToPrimary")
        if promotes:
            target = _primary_for(store, instances, self._account.now())
        else:
            target = self._target(store, body.get("destinationImageSet"))
            _require_consistent(target, instances, is_forced=is_true(request, "force"))
        merged = {**(target.latest.instances if target.versions else {}), **instances}
        target.add_version(merged, WorkflowStatus.COPYING, self._account.now())
        target.state = source.state = State.LOCKED
        source.status = WorkflowStatus.COPYING_WITH_READ_ONLY_ACCESS
        store.image_sets[target.identifier] = target
        self._later(_done(target, WorkflowStatus.COPIED))
        self._later(self._deleted(source) if promotes else _done(source, WorkflowStatus.COPIED))
        return json_answer(
            {
                "datastoreId": store.identifier,
                "sourceImageSetProperties": _copied(store, source),
                "destinationImageSetProperties": _copied(store, target),
            }
        )

    def _target(self, store: DataStore, named: Mapping[str, Any] | None) -> ImageSet:
        if not named:
            return ImageSet(is_primary=False, created_at=self._account.now())
        target = store.image_set(require_identifier(named.get("imageSetId"), "imageSetId"))
        target.require_unlocked()
        _require_latest(target, named.get("latestVersionId"))
        return target

    def _unlocked(self, request: web.Request) -> tuple[DataStore, ImageSet]:
        store = self._account.active_data_store(path_identifier(request, "datastoreId"))
        image_set = store.image_set(path_identifier(request, "imageSetId"))
        if image_set.state is State.DELETED:
            raise NotFoundError(f"image set {image_set.identifier} does not exist")
        image_set.require_unlocked()
        return store, image_set

    def _begin_deletion(self, image_set: ImageSet) -> None:
        image_set.state, image_set.status = State.LOCKED, WorkflowStatus.DELETING
        self._later(self._deleted(image_set))

    def _deleted(self, image_set: ImageSet) -> Callable[[], None]:
        def done() -> None:
            image_set.state, image_set.status = State.DELETED, WorkflowStatus.DELETED
            image_set.deleted_at = self._account.now()

        return done

    def _later(self, done: Callable[[], None]) -> None:
        seconds = self._account.behaviour.change_seconds
        asyncio.get_running_loop().call_later(seconds, done)


def _done(image_set: ImageSet, status: WorkflowStatus) -> Callable[[], None]:
    def done() -> None:
        image_set.state, image_set.status = State.ACTIVE, status

    return done


def _require_latest(image_set: ImageSet, version: Any) -> None:
    if version is None:
        raise ValidationError("the latest version must be named")
    if str(version) != str(image_set.latest.number):
        raise ConflictError(
            f"the latest version of image set {image_set.identifier} is {image_set.latest.number}"
        )


def _others_of_study(store: DataStore, image_set: ImageSet) -> list[ImageSet]:
    study = image_set.latest.first.study_instance_uid
    return [
        one
        for one in store.image_sets.values()
        if one is not image_set
        and one.is_primary
        and one.is_there
        and one.latest.first.study_instance_uid == study
    ]


def _selected(source: ImageSet, copies: Mapping[str, Any] | None) -> _Instances:
    """Return the instances that a copy is for: all, or those that DICOMCopies lists."""
    instances = dict(source.latest.instances)
    if not copies:
        return instances
    try:
        tree = json.loads(copies["copiableAttributes"])
        series = tree["Study"]["Series"].values()
        wanted = [uid for one in series for uid in one["Instances"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValidationError("copiableAttributes is no JSON that lists instances") from error
    if not wanted or not set(wanted) <= set(instances):
        raise ValidationError("copiableAttributes lists what the image set does not have")
    return {uid: instances[uid] for uid in wanted}


def _require_consistent(target: ImageSet, instances: _Instances, *, is_forced: bool) -> None:
    if not target.versions:
        return
    if set(target.latest.instances) & set(instances):
        raise ValidationError("the destination has an instance of the same SOP Instance UID")
    first, added = target.latest.first, next(iter(instances.values()))
    if not is_forced and conflicting_elements(first, added):
        raise ValidationError("source and destination differ; force would copy nevertheless")


def _primary_for(store: DataStore, instances: _Instances, now: float) -> ImageSet:
    """Return the primary image set of the instances' series, a new one where there is none.

    Raises:
        ConflictError: primary image sets of the study say otherwise, or theirs is locked.
    """
    first = next(iter(instances.values()))
    found: ImageSet | None = None
    for one in store.image_sets.values():
        if not one.is_primary or not one.is_there:
            continue
        other = one.latest.first
        if other.study_instance_uid != first.study_instance_uid:
            continue
        if conflicting := conflicting_elements(other, first):
            raise ConflictError(f"primary image sets of the study differ in {conflicting[0]}")
        if other.series_instance_uid == first.series_instance_uid:
            found = one
    if found is not None:
        found.require_unlocked()
    return found or ImageSet(is_primary=True, created_at=now)


def _properties(image_set: ImageSet) -> dict[str, Any]:
    return {
        "imageSetId": image_set.identifier,
        "latestVersionId": str(image_set.latest.number),
        "imageSetState": image_set.state,
        "imageSetWorkflowStatus": image_set.status,
        "createdAt": image_set.created_at,
        "updatedAt": image_set.updated_at,
    }


def _copied(store: DataStore, image_set: ImageSet) -> dict[str, Any]:
    return _properties(image_set) | {"imageSetArn": f"{store.arn}/imageset/{image_set.identifier}"}
