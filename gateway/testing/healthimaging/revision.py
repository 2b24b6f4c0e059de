"""What UpdateImageSetMetadata does to the elements of instances.

Source: HealthImaging developer guide, "Updating image set metadata".
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword

from gateway.testing.healthimaging.description import Description
from gateway.testing.healthimaging.errors import ValidationError
from gateway.testing.healthimaging.instances import StoredInstance
from gateway.testing.healthimaging.levels import Level, level_of

_NAMES = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"})
_FORCED = _NAMES | {"StudyID"}
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_LARGEST_BYTES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """Values for elements of one level, None for those that go.

    Without UIDs it is for all instances, else for those of a series, or for one of them.
    """

    level: Level
    values: Mapping[str, Any]
    vrs: Mapping[str, str] = field(default_factory=dict)
    series_instance_uid: str = ""
    sop_instance_uid: str = ""

    def is_for(self, instance: StoredInstance) -> bool:
        """Tell whether it changes an instance."""
        return self.series_instance_uid in ("", instance.series_instance_uid) and (
            self.sop_instance_uid in ("", instance.sop_instance_uid)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """One update: edits, and SOP Instance UIDs of instances that go."""

    edits: tuple[Edit, ...]
    removed: frozenset[str]

    @classmethod
    def parse(cls, updates: Mapping[str, Any], *, is_forced: bool, is_primary: bool) -> Self:
        """Read DICOMUpdates.

        Raises:
            ValidationError: they are none, or need ``force``, or are not allowed at all.
        """
        changes = _tree(updates.get("updatableAttributes"), "updatableAttributes")
        removals = _tree(updates.get("removableAttributes"), "removableAttributes")
        if not changes and not removals:
            raise ValidationError("DICOMUpdates has neither updatable nor removable attributes")
        removed = frozenset(_removed(removals))
        edits = (*_edits(changes), *(_without_values(one) for one in _edits(removals)))
        for edit in edits:
            _require(edit, is_forced=is_forced, is_primary=is_primary)
        if removed and not is_forced:
            raise ValidationError("removing an instance needs force")
        return cls(edits=tuple(one for one in edits if one.values), removed=removed)

    def of_patient_and_study(self) -> "Revision":
        """Return the part that can be for all image sets of a study."""
        shared = (Level.PATIENT, Level.STUDY)
        return Revision(
            edits=tuple(one for one in self.edits if one.level in shared), removed=frozenset()
        )

    def revised(self, instances: Iterable[StoredInstance]) -> dict[str, StoredInstance]:
        """Return instances as they are after the update, by their SOP Instance UIDs."""
        left = (one for one in instances if one.sop_instance_uid not in self.removed)
        revised = (self._revised(one) for one in left)
        return {one.sop_instance_uid: one for one in revised}

    def _revised(self, instance: StoredInstance) -> StoredInstance:
        edits = [one for one in self.edits if one.is_for(instance)]
        if not edits:
            return instance
        described = dict(instance.description.elements)
        vrs = dict(instance.description.vrs)
        elements = deepcopy(instance.elements)
        for edit in edits:
            vrs.update(edit.vrs)
            for key, value in edit.values.items():
                _put(described, elements, key, value, vrs)
        description = Description(elements=described, vrs=vrs)
        return replace(instance, description=description, elements=elements)


def _tree(encoded: Any, name: str) -> Mapping[str, Any]:
    if encoded is None:
        return {}
    try:
        content = base64.b64decode(encoded, validate=True)
        tree = json.loads(content)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValidationError(f"{name} is no JSON in base64") from error
    if len(content) > _LARGEST_BYTES or not isinstance(tree, dict):
        raise ValidationError(f"{name} is no JSON object of {_LARGEST_BYTES} bytes at most")
    if unknown := set(tree) - {"SchemaVersion", "Patient", "Study"}:
        raise ValidationError(f"{name} must not have {sorted(unknown)[0]}")
    return tree


def _edits(tree: Mapping[str, Any]) -> Iterator[Edit]:
    """Give the edits of a tree of the form that the metadata has."""
    patient, study = tree.get("Patient") or {}, tree.get("Study") or {}
    yield Edit(level=Level.PATIENT, values=_values(patient))
    yield Edit(level=Level.STUDY, values=_values(study))
    for series_uid, series in (study.get("Series") or {}).items():
        yield Edit(level=Level.SERIES, values=_values(series), series_instance_uid=series_uid)
        for uid, instance in (series.get("Instances") or {}).items():
            yield Edit(
                level=Level.INSTANCE,
                values=_values(instance),
                vrs=instance.get("DICOMVRs") or {},
                series_instance_uid=series_uid,
                sop_instance_uid=uid,
            )


def _values(node: Mapping[str, Any]) -> Mapping[str, Any]:
    values = node.get("DICOM") or {}
    if not isinstance(values, dict):
        raise ValidationError("DICOM must be an object")
    return values


def _without_values(edit: Edit) -> Edit:
    return replace(edit, values=dict.fromkeys(edit.values))


def _removed(tree: Mapping[str, Any]) -> Iterator[str]:
    for series in ((tree.get("Study") or {}).get("Series") or {}).values():
        for uid, instance in (series.get("Instances") or {}).items():
            if not instance:
                yield uid


def _require(edit: Edit, *, is_forced: bool, is_primary: bool) -> None:
    for key, value in edit.values.items():
        is_known = tag_for_keyword(key) is not None
        if is_known and level_of(key) is not edit.level:
            raise ValidationError(f"{key} is not of the level {edit.level}")
        if key in _NAMES and is_primary:
            raise ValidationError(f"{key} of a primary image set cannot be changed")
        needs_force = key in _FORCED or isinstance(value, list) or not is_known
        if needs_force and not is_forced:
            raise ValidationError(f"changing {key} needs force")


def _put(
    described: dict[str, Any], elements: Dataset, key: str, value: Any, vrs: dict[str, str]
) -> None:
    """Change one element in both forms that an instance has."""
    tag = tag_for_keyword(key)
    tag = int(key, 16) if tag is None else tag
    if value is None:
        described.pop(key, None)
        vrs.pop(key, None)
        if tag in elements:
            del elements[tag]
        return
    described[key] = value
    vr = vrs.get(key) or dictionary_VR(tag)
    elements.add_new(tag, vr, _parsed(vr, value))


def _parsed(vr: str, value: Any) -> Any:
    if vr == "SQ":
        return [_item(one) for one in value]
    if vr in _BINARY_VRS:
        return base64.b64decode(value)
    return value


def _item(described: Mapping[str, Any]) -> Dataset:
    item = Dataset()
    for key, value in described.items():
        _put({}, item, key, value, {})
    return item
