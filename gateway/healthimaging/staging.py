"""Instances on their way to an import job: objects in S3 under a prefix of that job alone."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gateway.healthimaging.buckets import Buckets
from gateway.healthimaging.outgoing import Outgoing
from gateway.healthimaging.places import S3Place

FOLDER_PREFIX = "gateway-"
"""How the folders begin that this program makes below ``input_s3_uri``, and cleans."""
AT_ONCE = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedPlace:
    """The folder of an upload, and what is in it."""

    upload_id: str
    place: S3Place
    objects: int
    size_bytes: int
    modified_at: float
    """When its newest object was written, in seconds since 1970."""


def staging_place(input_s3_uri: str, upload_id: str) -> S3Place:
    """Return where the instances of an upload are staged: nobody else writes there."""
    return S3Place.read(input_s3_uri).inside(FOLDER_PREFIX + upload_id)


def staged_name(number: int) -> str:
    """Return the name of the instance with this place in its upload: no UID leaves by a key."""
    return f"{number:05}.dcm"


def stage(
    buckets: Buckets,
    place: S3Place,
    instances: Sequence[Outgoing],
    progress: Callable[[Outgoing], None] = lambda _: None,
) -> None:
    """Write instances, several at once, but those that an earlier attempt has written.

    Raises:
        GatewayError: one could not be written; see `Buckets.put`.
    """
    there = {one.key: one.size_bytes for one in buckets.list(place)}

    def put(numbered: tuple[int, Outgoing]) -> Outgoing:
        number, instance = numbered
        name = staged_name(number)
        if there.get(place.key(name)) != instance.size_bytes:
            buckets.put(place, name, instance)
        return instance

    executor = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="stage")
    try:
        for instance in executor.map(put, enumerate(instances)):
            progress(instance)
    finally:
        executor.shutdown(cancel_futures=True)


def staged_places(buckets: Buckets, input_s3_uri: str) -> Iterator[StagedPlace]:
    """Give what is staged below ``input_s3_uri``, by whichever gateway."""
    root = S3Place.read(input_s3_uri)
    found: dict[str, StagedPlace] = {}
    for one in buckets.list(S3Place(bucket=root.bucket, prefix=root.prefix + FOLDER_PREFIX)):
        folder = one.key.removeprefix(root.prefix).partition("/")[0]
        before = found.get(folder)
        found[folder] = StagedPlace(
            upload_id=folder.removeprefix(FOLDER_PREFIX),
            place=root.inside(folder),
            objects=(before.objects if before else 0) + 1,
            size_bytes=(before.size_bytes if before else 0) + one.size_bytes,
            modified_at=max(before.modified_at if before else 0.0, one.modified_at),
        )
    yield from found.values()
