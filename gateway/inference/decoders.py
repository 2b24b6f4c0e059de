"""Processes that decode the slices of volumes side by side, kept warm from series to series."""

import mmap
import os
import queue
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import structlog

from gateway.dicom.reasons import InputReason
from gateway.errors import BundleHostLost, DataSetUnreadable, InputRefused
from gateway.inference.child import end_child, how_it_ended, start_child
from gateway.inference.decoder import receive_json, send_json
from gateway.inference.early_slices import EarlySlices
from gateway.inference.selection import SourceFrame
from gateway.inference.slices import FileSlices, file_slices

_log = structlog.get_logger(__name__)
_MODULE = "gateway.inference.decoder"
_MOST_SLICES_AT_ONCE = 8
_PORTIONS_PER_PROCESS = 4
_START_SECONDS = 120.0
_LEAST_SECONDS = 30.0
_SECONDS_PER_SLICE = 5.0


class _DecoderLostError(Exception):
    """A process ended, or was not done in time; ``how`` says which."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Decoders:
    """As many processes as there are processors, started when first needed.

    Safe to use from several threads, whose volumes share the processes. What `decode_early` has
    decoded, `decode` takes from ``early``.
    """

    def __init__(self, number: int = 0, *, seconds_per_slice: float = _SECONDS_PER_SLICE) -> None:
        """Use so many processes, one for each processor where it is 0."""
        self.early = EarlySlices()
        self._is_closed = False
        self._number = number or len(os.sched_getaffinity(0))
        self._seconds_per_slice = seconds_per_slice
        self._idle: queue.SimpleQueue[_Decoder | None] = queue.SimpleQueue()
        for _ in range(self._number):
            self._idle.put(None)
        self._executor = ThreadPoolExecutor(self._number, thread_name_prefix="decode")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the processes now, so that the first series does not wait for them."""
        for _ in range(self._number):
            self._idle.put(self._idle.get() or _Decoder())

    def decode(
        self, frames: Sequence[SourceFrame], shape: tuple[int, int, int]
    ) -> npt.NDArray[np.float32]:
        """Return the images of frames as (slices, rows, columns) in modality values.

        The array lies in memory that has no name, and goes with it. Raises InputRefused for
        pixels that no decoder reads, or that end or stall the process that decodes them,
        DataSetUnreadable for a file that is no DICOM any more, and BundleHostLost when the
        processes were closed meanwhile.
        """
        early = [self._early_image(frame, shape) for frame in frames]
        late = [one for one in enumerate(frames) if early[one[0]] is None]
        descriptor = os.memfd_create("volume", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, int(np.prod(shape)) * np.dtype(np.float32).itemsize)
            array = np.frombuffer(mmap.mmap(descriptor, 0), dtype=np.float32).reshape(shape)
            volume = _Volume(descriptor=descriptor, shape=shape)
            with self._decoding(volume, _portions(late, self._number)):
                for place, image in zip(array, early, strict=True):
                    if image is not None:
                        place[...] = image
            return array
        finally:
            os.close(descriptor)

    def decode_early(self, frames: Sequence[SourceFrame]) -> None:
        """Decode images of one size whose series is not complete yet; raises as `decode` does.

        Frames of multi-frame objects are not held.
        """
        plane = frames[0].image.plane
        images = self.decode(frames, (len(frames), plane.rows, plane.columns))
        for frame, image in zip(frames, images, strict=True):
            if frame.image.plane.frame_number is None:
                self.early.put(frame.path, image)

    def close(self) -> None:
        """End all processes."""
        self._is_closed = True
        self._executor.shutdown(cancel_futures=True)
        for _ in range(self._number):
            decoder = self._idle.get()
            if decoder is not None:
                decoder.kill()

    def _early_image(
        self, frame: SourceFrame, shape: tuple[int, int, int]
    ) -> npt.NDArray[np.float32] | None:
        image = self.early.get(frame.path)
        is_whole = image is not None and image.shape == shape[1:]
        return image if is_whole and frame.image.plane.frame_number is None else None

    @contextmanager
    def _decoding(
        self, volume: "_Volume", portions: Iterator[tuple[FileSlices, ...]]
    ) -> Iterator[None]:
        """Decode portions side by side, and beside the block.

        What has not begun is left when one is refused.
        """
        running: list[Future[None]] = []
        try:
            running += (self._submitted(volume, portion) for portion in portions)
            yield
            for one in running:
                one.result()
        except CancelledError as error:
            raise _closed() from error
        finally:
            # Of those that a closed executor cancelled nobody ever says that they are done.
            wait([one for one in running if not one.cancel()])

    def _submitted(self, volume: "_Volume", portion: Sequence[FileSlices]) -> Future[None]:
        try:
            return self._executor.submit(self._decode, volume, portion)
        except RuntimeError as error:
            if not self._is_closed:
                raise
            raise _closed() from error

    def _decode(self, volume: "_Volume", portion: Sequence[FileSlices]) -> None:
        try:
            self._ask(volume, portion)
        except _DecoderLostError as error:
            _log.warning("decoder_lost", how=error.how)
            if len(portion) > 1:
                # One of them did it; each alone tells which.
                for file in portion:
                    self._decode(volume, [file])
            else:
                raise _fatal(portion[0], error) from error

    def _ask(self, volume: "_Volume", portion: Sequence[FileSlices]) -> None:
        decoder = self._idle.get()
        try:
            decoder = decoder or _Decoder()
            number = sum(len(file.slices) for file in portion)
            seconds = _LEAST_SECONDS + number * self._seconds_per_slice
            answer = decoder.ask(volume, portion, seconds)
        except BaseException:
            if decoder is not None:
                decoder.kill()
            decoder = None
            raise
        finally:
            self._idle.put(decoder)
        if "refused" in answer:
            raise InputRefused(**answer["refused"])
        if "unreadable" in answer:
            raise DataSetUnreadable(answer["unreadable"])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Volume:
    """Memory in which a volume of this shape is decoded."""

    descriptor: int
    shape: tuple[int, int, int]


class _Decoder:
    """One running process, and the socket to it."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = start_child(_MODULE, theirs)
        self._is_ready = False

    def ask(self, volume: _Volume, portion: Sequence[FileSlices], seconds: float) -> dict[str, Any]:
        """Have slices decoded, within so many seconds; raises _DecoderLostError."""
        files = [[str(file.path), [one.as_json() for one in file.slices]] for file in portion]
        try:
            self._await_start()
            self._connection.settimeout(seconds)
            request = {"shape": volume.shape, "files": files}
            send_json(self._connection, request, (volume.descriptor,))
            return dict(receive_json(self._connection))
        except TimeoutError as error:
            raise _DecoderLostError(f"was not done after {seconds:g} s") from error
        except (EOFError, OSError) as error:
            raise _DecoderLostError(how_it_ended(self._process)) from error

    def _await_start(self) -> None:
        if not self._is_ready:
            self._connection.settimeout(_START_SECONDS)
            receive_json(self._connection)
            self._is_ready = True

    def kill(self) -> None:
        """End the process and reap it."""
        end_child(self._process)
        self._connection.close()


def _portions(
    slices: Sequence[tuple[int, SourceFrame]], processes: int
) -> Iterator[tuple[FileSlices, ...]]:
    """Cut slices, each a place and a frame, so that all processes end at about one time.

    A file of many frames is read again for each portion of it, so that each process gets one.
    """
    has_files_of_many = len({frame.path for _, frame in slices}) < len(slices)
    number = max(1, -(-len(slices) // processes))
    if not has_files_of_many:
        number = max(1, min(_MOST_SLICES_AT_ONCE, number // _PORTIONS_PER_PROCESS))
    in_files = sorted(slices, key=lambda one: (one[1].path, one[0]))
    for begin in range(0, len(in_files), number):
        yield tuple(file_slices(in_files[begin : begin + number]))


def _closed() -> BundleHostLost:
    return BundleHostLost("the processes that decode were closed with the worker")


def _fatal(file: FileSlices, error: _DecoderLostError) -> InputRefused:
    instance = file.slices[0].sop_instance_uid
    return InputRefused(
        f"instance {instance} is refused: the process that decodes its pixel data {error.how}",
        reason=InputReason.UNREADABLE_PIXELS,
        instances=[instance],
    )
