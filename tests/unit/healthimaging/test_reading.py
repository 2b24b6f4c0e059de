"""Image sets of the stand-in read back: whole, in order, verified, whatever goes wrong between."""

import asyncio
import gc
import hashlib
import threading
import tracemalloc
from contextlib import aclosing
from inspect import getdoc
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from gateway.errors import (
    AccessRefused,
    FrameUnreadable,
    ImageSetIncomplete,
    NotFound,
    PeerRefused,
    PeerUnavailable,
)
from gateway.healthimaging import (
    Instance,
    InstanceFailure,
    PixelEncoding,
    Session,
    image_set_metadata,
    image_set_properties,
    read_image_set,
    read_instances,
)
from gateway.healthimaging.instance import file_name
from gateway.testing.healthimaging import Behaviour, Fault, FaultKind, StorageFormat
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.healthimaging.clouds import QUICK, data_store, file_of, in_session, log_in, read_all

NOWHERE = "0" * 32


def uids(items: list[Instance | InstanceFailure]) -> list[str]:
    return [item.sop_instance_uid for item in items]


def frame_of(cloud: Cloud, image_set_id: str, number: int) -> str:
    async def work(session: Session) -> str:
        metadata = await image_set_metadata(session, image_set_id)
        return metadata[number].frames[0].frame_id

    return in_session(cloud, work)


def test_instances_come_whole_and_in_order(
    cloud: Cloud, image_set_id: str, slices: list[Dataset]
) -> None:
    items = read_all(cloud, image_set_id)
    assert uids(items) == [one.SOPInstanceUID for one in slices]
    for item, original in zip(items, slices, strict=True):
        assert isinstance(item, Instance)
        assert (item.dataset().pixel_array == original.pixel_array).all()


def test_frames_stay_encoded_on_request(
    cloud: Cloud, image_set_id: str, slices: list[Dataset]
) -> None:
    first = read_all(cloud, image_set_id, pixels=PixelEncoding.AS_STORED)[0]
    assert isinstance(first, Instance)
    dataset = first.dataset()
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.202"
    assert (dataset.pixel_array == slices[0].pixel_array).all()


def test_jpeg_2000_data_stores_are_read_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slices: list[Dataset]
) -> None:
    with open_cloud(tmp_path, storage_format=StorageFormat.JPEG_2000_LOSSLESS) as cloud:
        log_in(cloud, monkeypatch)
        placed = cloud.import_files([file_of(slices[0])])
        (item,) = read_all(cloud, placed[0].image_set_id)
        assert isinstance(item, Instance)
        assert (item.dataset().pixel_array == slices[0].pixel_array).all()


def test_metadata_that_is_not_ready_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slices: list[Dataset]
) -> None:
    behaviour = Behaviour(processing_seconds=0.3, compresses_metadata=False)
    with open_cloud(tmp_path, behaviour=behaviour) as cloud:
        log_in(cloud, monkeypatch)
        placed = cloud.import_files([file_of(slices[0])])
        assert len(read_all(cloud, placed[0].image_set_id)) == 1
        assert cloud.faults.calls("GetImageSetMetadata") > 1


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.THROTTLED,
        FaultKind.FAILED,
        FaultKind.UNAVAILABLE,
        FaultKind.WRONG_PIXELS,
        FaultKind.TRUNCATED,
        FaultKind.CUT,
        FaultKind.LATE_CUT,
    ],
)
def test_what_goes_wrong_with_a_frame_is_tried_again(
    cloud: Cloud, image_set_id: str, slices: list[Dataset], kind: FaultKind
) -> None:
    cloud.faults.add(Fault(operation="GetImageFrame", kind=kind, times=2))
    items = read_all(cloud, image_set_id)
    assert all(isinstance(item, Instance) for item in items)
    assert uids(items) == [one.SOPInstanceUID for one in slices]


@pytest.mark.parametrize("kind", [FaultKind.WRONG_PIXELS, FaultKind.TRUNCATED])
def test_a_frame_that_never_verifies_fails_its_instance_alone(
    cloud: Cloud, image_set_id: str, slices: list[Dataset], kind: FaultKind
) -> None:
    frame_id = frame_of(cloud, image_set_id, 5)
    cloud.faults.add(Fault(operation="GetImageFrame", kind=kind, times=None, target=frame_id))
    items = read_all(cloud, image_set_id)
    assert uids(items) == [one.SOPInstanceUID for one in slices]
    (failure,) = (item for item in items if isinstance(item, InstanceFailure))
    assert failure.sop_instance_uid == slices[5].SOPInstanceUID
    assert isinstance(failure.reason, FrameUnreadable)
    assert frame_id in str(failure)


def test_a_frame_that_is_never_answered_fails_its_instance_alone(
    cloud: Cloud, image_set_id: str
) -> None:
    frame_id = frame_of(cloud, image_set_id, 0)
    cloud.faults.add(
        Fault(operation="GetImageFrame", kind=FaultKind.FAILED, times=None, target=frame_id)
    )
    first, *others = read_all(cloud, image_set_id)
    assert isinstance(first, InstanceFailure)
    assert isinstance(first.reason, PeerUnavailable)
    assert all(isinstance(item, Instance) for item in others)


def test_a_data_store_that_stops_answering_ends_the_reading(
    cloud: Cloud, image_set_id: str
) -> None:
    cloud.faults.add(Fault(operation="GetImageFrame", kind=FaultKind.FAILED, times=None))
    with pytest.raises(PeerUnavailable):
        read_all(cloud, image_set_id)


def test_a_refusal_ends_the_reading(cloud: Cloud, image_set_id: str) -> None:
    cloud.faults.add(Fault(operation="GetImageFrame", kind=FaultKind.DENIED, times=None))
    with pytest.raises(AccessRefused, match=r"nodes\.cloud\.datastore_id"):
        read_all(cloud, image_set_id)


def test_an_image_set_that_is_not_there_is_named(cloud: Cloud) -> None:
    with pytest.raises(NotFound, match=f"image set {NOWHERE}"):
        read_all(cloud, NOWHERE)


def test_the_state_of_an_image_set(cloud: Cloud, image_set_id: str) -> None:
    async def work(session: Session) -> tuple[str, bool]:
        found = await image_set_properties(session, image_set_id)
        return found.state, found.is_primary

    assert in_session(cloud, work) == ("ACTIVE", True)


def test_a_reader_that_stops_early_leaves_nothing_running(cloud: Cloud, image_set_id: str) -> None:
    async def work(session: Session) -> int:
        async with aclosing(read_instances(session, image_set_id)) as items:
            async for _ in items:
                break
        return len(asyncio.all_tasks())

    assert in_session(cloud, work) == 1


def test_frames_are_fetched_over_few_connections_a_bounded_number_at_once(
    cloud: Cloud, image_set_id: str
) -> None:
    async def work() -> list[Instance | InstanceFailure]:
        async with Session(data_store(cloud), connections=2, retries=QUICK) as session:
            return [item async for item in read_instances(session, image_set_id)]

    assert len(asyncio.run(work())) == 12


def test_no_more_is_held_than_is_allowed_ahead(cloud: Cloud) -> None:
    """Sixty slices of half a megabyte are read in the memory of a few."""
    files = [file_of(one) for one in _large(60)]
    (image_set_id,) = {placed.image_set_id for placed in cloud.import_files(files)}
    del files

    async def work(session: Session) -> int:
        tracemalloc.start()
        items = read_instances(session, image_set_id, ahead_bytes=4 << 20)
        async with aclosing(items):
            async for item in items:
                assert isinstance(item, Instance)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    gc.collect()
    assert in_session(cloud, work) < 20 << 20


def _large(count: int) -> list[Dataset]:
    acquisition = Acquisition(rows=512, columns=512, slices=count, slice_spacing_mm=1.0)
    return scan(Anatomy.asymmetric_object(), acquisition)


def test_files_are_named_by_their_instance_and_hold_it(
    cloud: Cloud, image_set_id: str, slices: list[Dataset], tmp_path: Path
) -> None:
    item = read_all(cloud, image_set_id)[0]
    assert isinstance(item, Instance)
    path = item.write(tmp_path)
    assert path == tmp_path / f"{slices[0].SOPInstanceUID}.dcm"
    assert list(tmp_path.iterdir()) == [path]
    written = dcmread(path)
    assert written == item.dataset()
    assert written.file_meta.MediaStorageSOPInstanceUID == slices[0].SOPInstanceUID


@pytest.mark.parametrize("uid", ["../../etc/passwd", "", "1.2/3", "1" * 65, ".."])
def test_what_is_no_uid_never_names_a_file(uid: str) -> None:
    assert file_name(uid) == hashlib.sha256(uid.encode()).hexdigest()


def test_the_example_of_the_notebook_runs(
    cloud: Cloud,
    image_set_id: str,
    slices: list[Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = getdoc(read_image_set) or ""
    example = dedent(words.partition("::\n\n")[2].partition("\n\nInstances come")[0]).replace(
        'region="us-east-1"', f'region="us-east-1", endpoint_url="{cloud.endpoint_url}"'
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"datastore_id": cloud.data_store_id, "image_set_id": image_set_id}
    exec(example, names)  # noqa: S102 - the documentation's own words
    assert (names["volume"] == np.stack([one.pixel_array for one in slices])).all()
    assert dcmread(tmp_path / "first.dcm").SOPInstanceUID == slices[0].SOPInstanceUID


def test_the_iterator_works_where_an_event_loop_is_running(cloud: Cloud, image_set_id: str) -> None:
    async def in_a_notebook() -> int:
        return len(
            list(read_image_set(cloud.data_store_id, image_set_id, endpoint_url=cloud.endpoint_url))
        )

    assert asyncio.run(in_a_notebook()) == 12


def test_an_iterator_that_is_closed_early_ends_its_thread(cloud: Cloud, image_set_id: str) -> None:
    datasets = read_image_set(cloud.data_store_id, image_set_id, endpoint_url=cloud.endpoint_url)
    next(datasets)
    datasets.close()
    assert "image-set" not in {thread.name for thread in threading.enumerate()}


def test_failures_are_raised_after_all_the_others_or_handed_over(
    cloud: Cloud, image_set_id: str, slices: list[Dataset]
) -> None:
    frame_id = frame_of(cloud, image_set_id, 3)
    wrong = Fault(
        operation="GetImageFrame", kind=FaultKind.WRONG_PIXELS, times=None, target=frame_id
    )
    cloud.faults.add(wrong)
    read: list[Dataset] = []
    with pytest.raises(ImageSetIncomplete, match=str(slices[3].SOPInstanceUID)):
        read.extend(
            read_image_set(cloud.data_store_id, image_set_id, endpoint_url=cloud.endpoint_url)
        )
    assert len(read) == 11
    failures: list[InstanceFailure] = []
    others = list(
        read_image_set(
            cloud.data_store_id,
            image_set_id,
            endpoint_url=cloud.endpoint_url,
            on_failure=failures.append,
        )
    )
    assert uids([*failures]) == [slices[3].SOPInstanceUID]
    assert len(others) == 11


def test_a_missing_region_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AccessRefused, match="region="):
        read_image_set("0" * 32, "0" * 32)


def test_metadata_that_is_none_is_refused(cloud: Cloud, image_set_id: str) -> None:
    cloud.faults.add(Fault(operation="GetImageSetMetadata", kind=FaultKind.TRUNCATED))
    with pytest.raises(PeerRefused, match="no image set metadata"):
        read_all(cloud, image_set_id)
