"""What makes a loaded bundle fast on its device without changing what it finds."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch

from gateway.inference.acceleration import AccelerationFailed, accelerate
from gateway.inference.host_requirements import Acceleration, Amp
from gateway.inference.memory_images import BundleUnsupported
from gateway.inference.tuned_batches import TunedBatches
from gateway.inference.tuning import room_for_windows, tune_batch
from gateway.inference.windows import Windows, WindowsUnknown, keep_weight_map


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedWanted:
    """What a descriptor asks for, and where what was found and compiled is kept.

    ``folder`` is for this bundle alone or, with ``is_kept``, for all of them and for good.
    """

    accelerate: Acceleration = Acceleration.NONE
    amp: Amp = Amp.BUNDLE
    digest: str = ""
    folder: Path = Path()
    is_kept: bool = False
    memory_mb: int | None = None

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], scratch: Path) -> Self:
        """Read what the gateway's side asks for; without a folder of its own, ``scratch`` is it."""
        kept = fields["folder"]
        return cls(
            accelerate=Acceleration(fields["accelerate"]),
            amp=Amp(fields["amp"]),
            digest=fields["digest"],
            folder=Path(kept) if kept else scratch,
            is_kept=kept is not None,
            memory_mb=fields["memory_mb"],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedInForce:
    """What a loaded bundle runs with.

    ``agreement`` is the share of voxels in which the accelerated network has the labels of the
    plain one, ``why_not`` why an acceleration that was asked for is not in force.
    ``sw_batch_size`` is None where the inferer has no windows of a fixed size.
    """

    accelerate: Acceleration = Acceleration.NONE
    amp: Amp = Amp.BUNDLE
    sw_batch_size: int | None = None
    agreement: float | None = None
    why_not: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def make_fast(
    evaluator: Any, postprocessing: Any, device: torch.device, wanted: SpeedWanted
) -> SpeedInForce:
    """Make an evaluator whose weights are loaded fast, and return what is in force.

    Raises BundleUnsupported where another precision is asked for than the bundle can have.
    """
    _use_precision(evaluator, wanted.amp)
    try:
        windows = Windows.of(evaluator, postprocessing, device)
    except WindowsUnknown as error:
        is_asked = wanted.accelerate is not Acceleration.NONE
        return SpeedInForce(amp=wanted.amp, why_not=str(error) if is_asked else "")
    keep_weight_map(windows)
    # Tuned for CUDA alone: on the CPU another number of windows changes the order of sums, and so
    # the last digits, without a gain that was measured.
    if device.type == "cuda":
        _use_batch(windows, wanted)
    return _accelerated(windows, wanted)


def _use_precision(evaluator: Any, amp: Amp) -> None:
    if amp is Amp.BUNDLE:
        return
    if not getattr(evaluator, "amp", False):
        raise BundleUnsupported(
            f"its evaluator has no mixed precision, and its descriptor asks for {amp}; "
            "its descriptor must say `host: {amp: bundle}`"
        )
    evaluator.amp_kwargs = {**evaluator.amp_kwargs, "dtype": getattr(torch, amp.value)}


def _use_batch(windows: Windows, wanted: SpeedWanted) -> None:
    name = torch.cuda.get_device_name(windows.device)
    known = TunedBatches(wanted.folder) if wanted.is_kept else None
    size = known.get(wanted.digest, name) if known else None
    if size is not None:
        windows.evaluator.inferer.sw_batch_size = size
        return
    try:
        size = tune_batch(windows, room_for_windows(windows.device, wanted.memory_mb))
    except WindowsUnknown:
        return
    if known:
        with suppress(OSError):  # then it is found again at the next start
            known.put(wanted.digest, name, size)


def _accelerated(windows: Windows, wanted: SpeedWanted) -> SpeedInForce:
    how, agreement, why_not = wanted.accelerate, None, ""
    if how is not Acceleration.NONE:
        # A file of a compiler must not be taken for that of another bundle.
        folder = wanted.folder / wanted.digest.replace(":", "-")
        try:
            agreement = accelerate(windows, how, folder)
        except AccelerationFailed as error:
            how, why_not = Acceleration.NONE, str(error)
    return SpeedInForce(
        accelerate=how,
        amp=wanted.amp,
        sw_batch_size=windows.batch,
        agreement=agreement,
        why_not=why_not,
    )
