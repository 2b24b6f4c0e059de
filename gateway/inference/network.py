"""A MONAI bundle in its process: loaded once, run by its own evaluator on one volume at a time.

What is computed is what ``python -m monai.bundle run`` computes with the bundle's inference
configuration, voxel for voxel.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import nibabel
import numpy as np
import numpy.typing as npt
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.engines import IterationEvents

from gateway.inference.configuration import load_weights, open_workflow, run_key
from gateway.inference.file_path import ImageFile
from gateway.inference.memory_images import (
    BundleUnsupported,
    MemorySaver,
    as_nifti,
    read_from_memory,
    upload_after_loading,
    write_to_memory,
)
from gateway.inference.running_argmax import argmax_while_inverting
from gateway.inference.speed import SpeedInForce, SpeedWanted, make_fast

_BYTES_PER_MB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Output:
    """What the bundle would have written for a volume, and what each stage took.

    ``array`` is (slices, rows, columns), or (channels, slices, rows, columns). ``peak_mb`` is
    the most memory that was in use on the GPU, 0 without one.
    """

    array: npt.NDArray[Any]
    timings_ms: Mapping[str, float]
    peak_mb: int = 0


@dataclass(kw_only=True, slots=True, eq=False)
class _Clock:
    """When the stages of one run ended."""

    device: torch.device
    started: float = 0.0
    read: float = 0.0
    inferred: float = 0.0

    def start(self) -> None:
        self.started = time.perf_counter()
        self.read = self.inferred = self.started

    def note_read(self) -> None:
        self.read = self.inferred = time.perf_counter()

    def note_inferred(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # for honest timings
        self.inferred = time.perf_counter()

    def timings_ms(self) -> dict[str, float]:
        ended = time.perf_counter()
        return {
            "preprocess": (self.read - self.started) * 1000,
            "infer": (self.inferred - self.read) * 1000,
            "postprocess": (ended - self.inferred) * 1000,
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedBundle:
    """A bundle whose evaluator waits for the next volume, with weights on ``device``.

    With ``file``, the bundle reads and writes files there; otherwise images pass in memory.
    """

    workflow: ConfigWorkflow
    device: torch.device
    run_key: str | None
    output_key: str
    clock: _Clock
    names: Sequence[str]
    images: dict[str, nibabel.Nifti1Image] = field(default_factory=dict)
    savers: Sequence[MemorySaver] = ()
    file: ImageFile | None = None
    speed: SpeedInForce = field(default_factory=SpeedInForce)

    @classmethod
    def load(
        cls,
        *,
        root: str,
        config_file: str,
        metadata_file: str,
        input_keys: Sequence[str],
        output_key: str,
        device: str | None,
        scratch: str,
        by_file: bool = False,
        run_key_wanted: str | None = None,
        extra_inputs: Mapping[str, Any] | None = None,
        speed: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read the configuration through MONAI's ConfigWorkflow and the weights without pickle.

        ``input_keys`` has the key of each volume; those of one key are its channels.
        ``device`` overrides the bundle's own choice, which takes a GPU when there is one.
        Raises BundleUnsupported, WeightsUnreadable, and whatever the bundle's code raises.
        """
        names = ["image.nii", *(f"image-{n}.nii" for n in range(2, len(input_keys) + 1))]
        file = ImageFile(Path(scratch), names) if by_file else None
        sources = [str(path) for path in file.inputs] if file else names
        workflow = open_workflow(
            root=Path(root),
            config_file=Path(config_file),
            metadata_file=Path(metadata_file),
            device=device,
            item={**_by_key(input_keys, sources), **(extra_inputs or {})},
            scratch=Path(scratch),
            by_file=by_file,
        )
        images: dict[str, nibabel.Nifti1Image] = {}
        savers: Sequence[MemorySaver] = ()
        where = torch.device(workflow.device)
        if file is None:
            read_from_memory(workflow.preprocessing, images)
            savers = write_to_memory(workflow.postprocessing, output_key)
            argmax_while_inverting(workflow.postprocessing)
            if where.type == "cuda":
                upload_after_loading(workflow.preprocessing, where)
        load_weights(workflow, Path(root))
        wanted = SpeedWanted.from_json(speed, Path(scratch)) if speed else SpeedWanted()
        in_force = make_fast(workflow.evaluator, workflow.postprocessing, where, wanted)
        clock = _Clock(device=where)
        _prepare(workflow.evaluator, clock)
        return cls(
            workflow=workflow,
            device=where,
            run_key=run_key(workflow, run_key_wanted),
            output_key=output_key,
            clock=clock,
            names=names,
            images=images,
            savers=savers,
            file=file,
            speed=in_force,
        )

    def label(
        self, arrays: Sequence[npt.NDArray[np.float32]], affine_ras: Sequence[Sequence[float]]
    ) -> Output:
        """Run on volumes (slices, rows, columns), whose affine takes (column, row, slice) to RAS.

        Raises BundleUnsupported when what comes out does not lie on the same grid, and whatever
        the bundle's code raises.
        """
        self.clock.start()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        images = [as_nifti(array, affine_ras) for array in arrays]
        try:
            written = self._by_file(images) if self.file else self._in_memory(images)
        finally:
            self._forget()
        return Output(
            array=_on_grid(written, arrays[0].shape),
            timings_ms=self.clock.timings_ms(),
            peak_mb=self._peak_mb(),
        )

    def _in_memory(self, images: Sequence[nibabel.Nifti1Image]) -> npt.NDArray[Any]:
        self.images.update(zip(self.names, images, strict=True))
        self._run()
        kept = [saver.array for saver in self.savers if saver.array is not None]
        return kept[-1] if kept else self._left_by_evaluator()

    def _by_file(self, images: Sequence[nibabel.Nifti1Image]) -> npt.NDArray[Any]:
        assert self.file is not None  # noqa: S101 - only called with a file
        with self.file.holding(images):
            self._run()
            return self.file.written()

    def _run(self) -> None:
        paths = list(sys.path)
        try:
            if self.run_key is None:
                self.workflow.evaluator.run()
            else:
                self.workflow.run_id = self.run_key
                self.workflow.run()
        finally:
            sys.path[:] = paths  # each run adds the bundle's folder once more

    def _left_by_evaluator(self) -> npt.NDArray[Any]:
        """Return the output of a bundle that saves nothing, channels last."""
        output = self.workflow.evaluator.state.output
        if isinstance(output, list):
            [output] = output
            value = output.get(self.output_key)
        else:
            value = output[self.output_key][0] if output else None
        if value is None:
            raise BundleUnsupported(f"its evaluator left no {self.output_key!r}")
        array = torch.as_tensor(value).detach().cpu().numpy()
        if array.ndim != 4:
            raise BundleUnsupported(f"its output has the shape {array.shape}")
        return array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)

    def _forget(self) -> None:
        """Let go of the volume and all that was made of it."""
        self.images.clear()
        for saver in self.savers:
            saver.clear()
        self.workflow.evaluator.state.batch = None
        self.workflow.evaluator.state.output = None

    def _peak_mb(self) -> int:
        if self.device.type != "cuda":
            return 0
        return -(-torch.cuda.max_memory_reserved(self.device) // _BYTES_PER_MB)


def _by_key(keys: Sequence[str], sources: Sequence[str]) -> dict[str, str | list[str]]:
    """Return the source of each key, or a list of them where several have it."""
    found: dict[str, list[str]] = {}
    for key, source in zip(keys, sources, strict=True):
        found.setdefault(key, []).append(source)
    return {key: one if len(one) > 1 else one[0] for key, one in found.items()}


def _prepare(evaluator: Any, clock: _Clock) -> None:
    """Let an evaluator run again and again, and note when its stages end."""
    # The engine that can be interrupted goes on, after an error, where it was.
    evaluator.interrupt_resume_enabled = False
    evaluator.add_event_handler(Events.GET_BATCH_COMPLETED, clock.note_read)
    if evaluator.has_registered_events(IterationEvents.FORWARD_COMPLETED):
        evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, clock.note_inferred)


def _on_grid(written: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Turn (columns, rows, slices[, channels]) to ([channels, ]slices, rows, columns)."""
    # Trailing axes of one are dropped from what is saved, also when they are slices.
    if written.ndim < 3:
        written = written.reshape(written.shape + (1,) * (3 - written.ndim))
    array = written.T if written.ndim == 3 else np.moveaxis(written, -1, 0).transpose(0, 3, 2, 1)
    if array.shape[-3:] != shape:
        raise BundleUnsupported(
            f"the output has {array.shape[-3:]} voxels where the source has {shape}; "
            "the postprocessing must invert the preprocessing"
        )
    return array
