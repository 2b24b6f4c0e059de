"""Instances read from an image set: in order, as early as they are whole, in bounded memory."""

import asyncio
import os
import random
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydicom.dataelem import RawDataElement
from pydicom.uid import ExplicitVRLittleEndian

from gateway.errors import (
    AccessRefused,
    DataSetUnreadable,
    FrameUnreadable,
    GatewayError,
    Transient,
)
from gateway.healthimaging.elements import ElementReader
from gateway.healthimaging.frame_layout import FrameLayout
from gateway.healthimaging.image_sets import fetched_frame, image_set_metadata
from gateway.healthimaging.instance import Instance, InstanceFailure, with_elements
from gateway.healthimaging.metadata import InstanceMetadata
from gateway.healthimaging.pixel_data import PixelData, PixelEncoding, pixel_data
from gateway.healthimaging.session import CONNECTIONS, Session
from gateway.healthimaging.whole_instances import fetched_pixel_data, has_unseparated_pixels

AHEAD_BYTES = 32 << 20
"""Decoded pixels that are read before they are asked for; one instance may be more."""
_FRAME_ATTEMPTS = 3
_FRAME_PAUSE_SECONDS = 0.2
_FAILURES_IN_A_ROW = 8


async def read_instances(
    session: Session,
    image_set_id: str,
    *,
    version: str | None = None,
    instances: Iterable[InstanceMetadata] | None = None,
    pixels: PixelEncoding = PixelEncoding.DECODED,
    ahead_bytes: int = AHEAD_BYTES,
) -> AsyncGenerator[Instance | InstanceFailure, None]:
    """Give the instances of all series of an image set, by series and Instance Number.

    ``instances`` are those of `image_set_metadata` that are wanted, where not all of them are.

    Each is given as soon as it and those before it are whole; frames of later ones are fetched
    and decoded meanwhile. An instance with a frame that does not verify is a failure with its
    reason, and the others still come. Close the iterator (`contextlib.aclosing`) to stop early.

    Raises:
        NotFound, PeerRefused: there is no such image set, or its metadata is none.
        AccessRefused: the data store does not let the caller in, now or in between.
        PeerBusy, PeerUnavailable: nothing comes any more; it may later.
    """
    if instances is None:
        instances = await image_set_metadata(session, image_set_id, version)
    todo = deque(instances)
    decoders = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "frame-decoder")
    reader = _InstanceReader(session, image_set_id, pixels, decoders)
    begun: deque[tuple[int, asyncio.Task[Instance | InstanceFailure]]] = deque()
    ahead = failed_in_a_row = 0
    try:
        while todo or begun:
            while todo and (not begun or ahead < ahead_bytes):
                metadata = todo.popleft()
                begun.append((_size_bytes(metadata), asyncio.create_task(reader.read(metadata))))
                ahead += begun[-1][0]
            size, task = begun.popleft()
            ahead -= size
            item = await task
            failed_in_a_row = _failures(item, failed_in_a_row)
            yield item
    finally:
        await _ended([task for _, task in begun])
        decoders.shutdown(wait=False, cancel_futures=True)


class _InstanceReader:
    """Reads the instances of one image set; frames share connections and decoders."""

    def __init__(
        self,
        session: Session,
        image_set_id: str,
        pixels: PixelEncoding,
        decoders: ThreadPoolExecutor,
    ) -> None:
        self._session = session
        self._image_set_id = image_set_id
        self._pixels = pixels
        self._decoders = decoders
        self._elements = ElementReader()
        # Enough to keep connections and decoders busy; encoded frames do not pile up between.
        self._frames = asyncio.Semaphore(CONNECTIONS + 8)

    async def read(self, metadata: InstanceMetadata) -> Instance | InstanceFailure:
        """Return an instance, or why there is none.

        Raises AccessRefused: what is refused for one frame is refused for all.
        """
        try:
            return await self._read(metadata)
        except AccessRefused:
            raise
        except GatewayError as error:
            return InstanceFailure(
                study_instance_uid=metadata.study_instance_uid,
                series_instance_uid=metadata.series_instance_uid,
                sop_instance_uid=metadata.sop_instance_uid,
                reason=error,
            )

    async def _read(self, metadata: InstanceMetadata) -> Instance:
        transfer_syntax_uid, pixels = await self._pixel_elements(metadata)
        content = metadata.read(self._elements)
        named = str(metadata.own.get("SOPInstanceUID") or "").rstrip("\0 ")
        if named != metadata.sop_instance_uid:
            raise DataSetUnreadable(f"the metadata has it under another SOP Instance UID, {named}")
        return Instance(
            study_instance_uid=metadata.study_instance_uid,
            series_instance_uid=metadata.series_instance_uid,
            sop_instance_uid=metadata.sop_instance_uid,
            sop_class_uid=str(metadata.own.get("SOPClassUID") or "").rstrip("\0 "),
            transfer_syntax_uid=transfer_syntax_uid,
            content=with_elements(content, list(pixels)),
        )

    async def _pixel_elements(
        self, metadata: InstanceMetadata
    ) -> tuple[str, Sequence[RawDataElement]]:
        if has_unseparated_pixels(metadata):
            return await fetched_pixel_data(self._session, self._image_set_id, metadata)
        if not metadata.frames:
            return str(ExplicitVRLittleEndian), ()
        target = pixel_data(metadata, self._pixels)
        if len(metadata.frames) == 1:
            await self._frame(metadata, 0, target)
        else:
            await self._all_frames(metadata, target)
        return target.transfer_syntax_uid(), target.elements()

    async def _all_frames(self, metadata: InstanceMetadata, target: PixelData) -> None:
        try:
            async with asyncio.TaskGroup() as frames:
                for index in range(len(metadata.frames)):
                    frames.create_task(self._frame(metadata, index, target))
        except ExceptionGroup as group:
            refused, others = group.split(AccessRefused)
            raise (refused or others or group).exceptions[0] from group

    async def _frame(self, metadata: InstanceMetadata, index: int, target: PixelData) -> None:
        """Fetch a frame and put it where it belongs, again where it does not verify."""
        frame = metadata.frames[index]
        loop = asyncio.get_running_loop()
        async with self._frames:
            for attempt in range(1, _FRAME_ATTEMPTS + 1):
                content = await fetched_frame(self._session, self._image_set_id, frame.frame_id)
                try:
                    await loop.run_in_executor(
                        self._decoders, target.put, index, content, frame.checksum
                    )
                except FrameUnreadable as error:
                    if attempt == _FRAME_ATTEMPTS:
                        what = f"frame {index + 1} ({frame.frame_id}), fetched {attempt} times"
                        raise FrameUnreadable(f"{what}: {error}") from error
                    await asyncio.sleep(random.uniform(0, _FRAME_PAUSE_SECONDS))  # noqa: S311
                else:
                    return


def _size_bytes(metadata: InstanceMetadata) -> int:
    """Return how much of an instance's pixels will be in memory."""
    if not metadata.frames:
        return 0
    try:
        return FrameLayout.from_metadata(metadata).size_bytes
    except FrameUnreadable:
        return 0


def _failures(item: Instance | InstanceFailure, before: int) -> int:
    """Count failures in a row by fault of the data store; raise the last of too many."""
    if isinstance(item, Instance) or not isinstance(item.reason, Transient):
        return 0
    if before + 1 == _FAILURES_IN_A_ROW:
        raise item.reason
    return before + 1


async def _ended(tasks: Sequence[asyncio.Task[Instance | InstanceFailure]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
