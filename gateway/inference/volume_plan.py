"""The volumes that the slices of one series make: usually one, several where it may be split."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from gateway.dicom.frames import SplitAttribute
from gateway.dicom.geometry import VolumeGeometry, grid_groups, volume_geometry
from gateway.dicom.hounsfield import require_rescale_types, require_rescaled
from gateway.dicom.reasons import GeometryReason, named
from gateway.dicom.strays import Dropped, DroppedAs
from gateway.dicom.suv import body_weight_factor
from gateway.dicom.uids import derived_uid
from gateway.errors import GeometryRefused
from gateway.inference.input_requirements import (
    GantryTilt,
    InputRequirements,
    Keep,
    MissingRescale,
    Suv,
)
from gateway.inference.selection import SourceFrame, select_frames

_SAME_PLACE_DECIMALS = 2  # of a millimetre


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VolumePlan:
    """One volume of a series: which images make it, in the order of their slices.

    ``geometry`` is the grid of these slices as they were made. ``part`` says which part of its
    series the volume is, such as ``AcquisitionNumber 2``, and is empty where the series was not
    split. ``suv_factor`` turns modality values into uptake values; 1 where none were asked for.
    """

    geometry: VolumeGeometry
    frames: tuple[SourceFrame, ...]
    part: str
    dropped: tuple[Dropped, ...]
    suv_factor: float
    read_ms: float


def plan_volumes(
    paths: Sequence[Path], requirements: InputRequirements | None = None
) -> tuple[VolumePlan, ...]:
    """Find the volumes in the files of one series, without decoding any pixel.

    There is one, unless ``requirements`` let the series be split; then each is complete, and
    they come in the order of the attribute that parts them. Raises GeometryRefused for images
    that are no regular grid, InputRefused for what is no image, for colour, for several series,
    for CT that is not in Hounsfield units, and for PET images without what an uptake value needs,
    and DataSetUnreadable for a file that is no DICOM.
    """
    started = time.perf_counter()
    wanted = requirements or InputRequirements()
    selection = select_frames(paths)
    parts = _parts(selection.frames, wanted)
    dropped = (*selection.dropped, *_smaller(selection.frames, parts))
    plans = [_plan(part, dropped, wanted) for part in parts]
    _name_the_nameless(plans)
    read_ms = (time.perf_counter() - started) * 1000
    return tuple(replace(plan, read_ms=read_ms) for plan in plans)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Part:
    """Images that are to make one volume, in any order."""

    name: str
    frames: Sequence[SourceFrame]


def _parts(frames: Sequence[SourceFrame], wanted: InputRequirements) -> list[_Part]:
    """Part the images as the descriptor says; which of the parts are volumes is not looked at."""
    if wanted.keep is Keep.EVERY:
        return _split(frames, wanted)
    stacks = defaultdict(list)
    for frame, group in zip(frames, grid_groups([f.image.plane for f in frames]), strict=True):
        stacks[group].append(frame)
    parts = [part for stack in stacks.values() for part in _split(stack, wanted)]
    most = max(len(part.frames) for part in parts)
    largest = [part for part in parts if len(part.frames) == most]
    if len(largest) > 1:
        instances = [part.frames[0].sop_instance_uid for part in largest]
        raise GeometryRefused(
            GeometryReason.SEVERAL_STACKS,
            f"{len(largest)} stacks of {most} slices lie in the series, and none is the "
            f"largest{named(instances)}",
            instances,
        )
    return largest


def _split(frames: Sequence[SourceFrame], wanted: InputRequirements) -> list[_Part]:
    marks = [tuple(frame.image.mark(one) for one in wanted.split_by) for frame in frames]
    if len(set(marks)) <= 1 or _lie_one_after_another(frames, marks, wanted):
        return [_Part(name="", frames=frames)]
    _require_marked(frames, wanted.split_by)
    by_mark = defaultdict(list)
    for frame, mark in zip(frames, marks, strict=True):
        by_mark[mark].append(frame)
    return [
        _Part(name=_part_name(wanted.split_by, mark), frames=by_mark[mark])
        for mark in sorted(by_mark, key=_numerically)
    ]


def _lie_one_after_another(
    frames: Sequence[SourceFrame], marks: Sequence[tuple[str, ...]], wanted: InputRequirements
) -> bool:
    """Tell whether all parts together are one grid in which each fills a stretch of its own.

    So are the rotations of a CT that steps from slice to slice, each an acquisition; phases
    that interleave are not.
    """
    try:
        order = _geometry(frames, wanted).order
    except GeometryRefused:
        return False
    stretches = [mark for mark, _ in groupby(marks[index] for index in order)]
    return len(stretches) == len(set(stretches))


def _require_marked(frames: Sequence[SourceFrame], attributes: Sequence[SplitAttribute]) -> None:
    for attribute in attributes:
        without = [frame for frame in frames if not frame.image.mark(attribute)]
        if without and len(without) < len(frames):
            instances = list(dict.fromkeys(frame.sop_instance_uid for frame in without))
            raise GeometryRefused(
                GeometryReason.NOT_SPLIT,
                f"the series cannot be split by {attribute}, which {len(without)} of "
                f"{len(frames)} slices lack{named(instances)}",
                instances,
            )


def _part_name(attributes: Sequence[SplitAttribute], mark: tuple[str, ...]) -> str:
    named_values = zip(attributes, mark, strict=True)
    return ", ".join(f"{attribute} {value}" for attribute, value in named_values if value)


def _numerically(mark: tuple[str, ...]) -> list[tuple[float, str]]:
    """Return a key that sorts 10 after 9, and text after numbers."""
    return [(_number(value), value) for value in mark]


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("inf")


def _plan(part: _Part, dropped: Sequence[Dropped], wanted: InputRequirements) -> VolumePlan:
    try:
        geometry = _geometry(part.frames, wanted)
    except GeometryRefused as error:
        raise _explained(error, part, wanted) from error
    frames = tuple(part.frames[index] for index in geometry.order)
    _require_ct_values(frames, wanted)
    headers = list({id(frame.header): frame.header for frame in frames}.values())
    return VolumePlan(
        geometry=geometry,
        frames=frames,
        part=part.name,
        dropped=tuple(dropped),
        suv_factor=body_weight_factor(headers) if wanted.suv is Suv.BODY_WEIGHT else 1.0,
        read_ms=0.0,
    )


def _require_ct_values(frames: Sequence[SourceFrame], wanted: InputRequirements) -> None:
    images = [frame.image for frame in frames if frame.header.get("Modality") == "CT"]
    if wanted.missing_rescale is MissingRescale.REFUSE:
        require_rescaled(images)
    require_rescale_types(images, wanted.rescale_types)


def _geometry(frames: Sequence[SourceFrame], wanted: InputRequirements) -> VolumeGeometry:
    return volume_geometry(
        [frame.image.plane for frame in frames],
        position_tolerance=wanted.spacing_tolerance,
        tilt_allowed=wanted.gantry_tilt is GantryTilt.SHEAR,
    )


def _explained(error: GeometryRefused, part: _Part, wanted: InputRequirements) -> GeometryRefused:
    """Say which part of a split series is refused, and what would part slices in one place."""
    if error.reason == GeometryReason.DUPLICATE_POSITION:
        telling = [
            attribute
            for attribute in SplitAttribute
            if attribute not in wanted.split_by and _parts_places(part.frames, attribute)
        ]
        if telling:
            phases = len({frame.image.mark(telling[0]) for frame in part.frames})
            return GeometryRefused(
                GeometryReason.MULTI_PHASE,
                f"{phases} volumes lie in one place, told apart by {' or '.join(telling)}, by "
                f"which the model's descriptor does not split{named(error.instances)}",
                error.instances,
            )
    if not part.name:
        return error
    return GeometryRefused(error.reason, f"in {part.name}, {error.detail}", error.instances)


def _parts_places(frames: Sequence[SourceFrame], attribute: SplitAttribute) -> bool:
    """Tell whether no two images with one value of an attribute lie in one place."""
    places = Counter(
        (
            frame.image.mark(attribute),
            tuple(round(x, _SAME_PLACE_DECIMALS) + 0.0 for x in frame.image.plane.position_lps_mm),
        )
        for frame in frames
    )
    return max(places.values()) == 1


def _smaller(frames: Sequence[SourceFrame], parts: Sequence[_Part]) -> list[Dropped]:
    used = {id(frame) for part in parts for frame in part.frames}
    unused = (frame.sop_instance_uid for frame in frames if id(frame) not in used)
    return [
        Dropped(sop_instance_uid=uid, dropped_as=DroppedAs.SMALLER_STACK)
        for uid in dict.fromkeys(unused)
    ]


def _name_the_nameless(plans: Sequence[VolumePlan]) -> None:
    """Give a series without UIDs of its own, as such tools leave it, UIDs that its slices give."""
    frames = [frame for plan in plans for frame in plan.frames]
    instances = list(dict.fromkeys(frame.sop_instance_uid for frame in frames))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if any(not frame.header.get(keyword) for frame in frames):
            uid = derived_uid(keyword, *instances)
            for frame in frames:
                setattr(frame.header, keyword, uid)
