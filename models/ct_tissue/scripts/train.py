"""Train the network on generated phantoms; the same seed gives the same weights.

Usage: ``python models/ct_tissue/scripts/train.py [--out FILE]``. The gateway package must be
importable, since its phantom scanner makes the volumes.

The first stage learns with Dice and cross-entropy loss, the others with cross-entropy alone:
Dice makes small structures be found, and thicker than they are; cross-entropy then settles their
edges. The third stage goes from a coarser grid to a finer one, the sixth to the one that the
bundle uses, which keeps the source's own spacing where it can; from then on patches are drawn
around what is as bright as bone, and is not, as well.
"""

import argparse
import logging
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.losses import DiceCELoss
from monai.transforms import Compose
from numpy.typing import NDArray
from volumes import random_volume

BUNDLE = Path(__file__).resolve().parent.parent
BATCH = 2
CLASSES = 4
PATCH_SHARES = (0.16, 0.16, 0.16, 0.32, 0.2)
BRIGHT_ABOVE = (110 + 1024) / 2048
BRIGHTEST = 2.0
SHARE_WITH_BATCH_STATISTICS = 0.65
SETTLING_BATCHES = 80
log = logging.getLogger("train")


class Stage(NamedTuple):
    """A part of the training.

    ``seeds`` name its phantoms, ``spacing_mm`` and ``patch`` the grid it sees, where no spacing
    is the bundle's own choice; ``rate`` is the highest learning rate, ``dice`` the weight of the
    Dice loss beside cross-entropy.
    """

    seeds: range
    spacing_mm: tuple[float, float, float] | None
    patch: tuple[int, int, int]
    steps: int
    rate: float
    dice: float
    settles_norms: bool


STAGES = (
    Stage(range(1, 161), (1.5, 1.5, 2.5), (96, 96, 32), 1200, 4e-3, 0.3, settles_norms=True),
    Stage(range(1, 241), (1.5, 1.5, 2.5), (96, 96, 32), 1300, 2e-3, 0.0, settles_norms=False),
    Stage(range(241, 401), (1.0, 1.0, 2.5), (128, 128, 32), 600, 1.5e-3, 0.0, settles_norms=False),
    Stage(range(401, 641), (1.0, 1.0, 2.5), (128, 128, 32), 1700, 2e-3, 0.0, settles_norms=False),
    Stage(range(641, 881), (1.0, 1.0, 2.5), (128, 128, 32), 1500, 2e-3, 0.0, settles_norms=False),
    Stage(range(881, 1121), None, (128, 128, 32), 1800, 2e-3, 0.0, settles_norms=False),
)


class Sample(NamedTuple):
    """A phantom on the network's grid.

    The scaled image; the share of each class in each voxel, (classes, ...), in 255ths; and some
    voxels of each class and of what is as bright as bone, and is not. Shares, because a voxel of
    this grid may lie between voxels of the source, and its probabilities are brought back to them
    the same way.
    """

    image: NDArray[np.float16]
    shares: NDArray[np.uint8]
    anchors: tuple[NDArray[np.int64], ...]


def main() -> None:
    """Make the volumes, train, and save the weights as a plain state dict."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    start = time.monotonic()
    network = _parser().get_parsed_content("network_def")
    if arguments.weights:
        network.load_state_dict(torch.load(arguments.weights, weights_only=True))
    for number, stage in enumerate(STAGES, start=1):
        if number >= arguments.first_stage:
            log.info("stage %d of %d", number, len(STAGES))
            _fit(network, _samples(stage), stage, arguments.seed)
            _save(network, arguments.out.with_suffix(f".stage{number}.pt"))
    _save(network, arguments.out)
    log.info("trained in %.0f s, saved %s", time.monotonic() - start, arguments.out)


def _save(network: torch.nn.Module, path: Path) -> None:
    torch.save({name: value.cpu() for name, value in network.state_dict().items()}, path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="seed of the patches that are drawn")
    parser.add_argument("--threads", type=int, default=2, help="processor threads")
    parser.add_argument("--first-stage", type=int, default=1, help="stage to begin with")
    parser.add_argument("--weights", type=Path, help="weights that the stage before left")
    parser.add_argument("--out", type=Path, default=BUNDLE / "models" / "model.pt")
    return parser.parse_args()


def _parser() -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "inference.json"))
    return parser


def _preprocessing(spacing_mm: tuple[float, float, float] | None) -> Compose:
    """Return the bundle's preprocessing, on its or another grid, for image and labels."""
    parser = _parser()
    kept = []
    for transform in parser["preprocessing#transforms"]:
        name = transform["_target_"]
        if name == "LoadImaged":
            continue
        both = name in ("EnsureChannelFirstd", "Orientationd", "Spacingd", "EnsureTyped")
        changed = {**transform, "keys": ["image", "label"] if both else "image"}
        if name == "Spacingd":
            changed |= {"mode": "bilinear"}
            if spacing_mm is not None:
                bounds = {"min_pixdim": None, "max_pixdim": None}
                changed |= {"pixdim": list(spacing_mm), **bounds}
        kept.append(changed)
    parser["preprocessing#transforms"] = kept
    return parser.get_parsed_content("preprocessing")


def _samples(stage: Stage) -> list[Sample]:
    """Return a stage's phantoms on its grid, made by two processes."""
    start = time.monotonic()
    make = partial(_sample, spacing_mm=stage.spacing_mm, patch=stage.patch)
    with ProcessPoolExecutor(max_workers=2) as pool:
        samples = list(pool.map(make, stage.seeds, chunksize=4))
    log.info("%d volumes in %.0f s", len(samples), time.monotonic() - start)
    return samples


def _sample(
    seed: int, *, spacing_mm: tuple[float, float, float] | None, patch: tuple[int, int, int]
) -> Sample:
    torch.set_num_threads(1)
    volume = random_volume(seed)
    preprocess = _preprocessing(spacing_mm)
    shares = []
    for value in range(CLASSES):
        one_class = (volume.label_image() == value).float()
        done = preprocess({"image": volume.image(), "label": one_class})
        shares.append(np.round(done["label"][0].numpy() * 255).astype(np.uint8))
    image = done["image"][0].numpy().astype(np.float16)
    short = [max(0, want - have) for want, have in zip(patch, image.shape, strict=True)]
    widths = [(n // 2, n - n // 2) for n in short]
    image = np.pad(image, widths, "edge")
    padded = np.pad(np.stack(shares), [(0, 0), *widths], "edge")
    rng = np.random.default_rng(seed)
    bright = (image > BRIGHT_ABOVE) & (padded[3] <= 127)
    anchors = tuple(_some(rng, mask) for mask in (*(padded > 127), bright))
    return Sample(image, padded, anchors)


def _some(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    places = np.flatnonzero(mask)
    return rng.choice(places, size=min(len(places), 2000)) if len(places) else places


def _fit(network: torch.nn.Module, samples: list[Sample], stage: Stage, seed: int) -> None:
    """Train in place with AdamW on a one-cycle schedule."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=stage.rate, total_steps=stage.steps, pct_start=0.15
    )
    loss_of = DiceCELoss(
        softmax=True,
        batch=True,
        smooth_nr=1.0,
        smooth_dr=1.0,
        lambda_dice=stage.dice,
    )
    network.train(stage.settles_norms)
    start, recent = time.monotonic(), []
    for step in range(1, stage.steps + 1):
        if stage.settles_norms and step == round(SHARE_WITH_BATCH_STATISTICS * stage.steps):
            _settle_norms(network, samples, stage, rng)
        images, shares = _batch(rng, samples, stage.patch)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            predicted = network(images)
        loss = loss_of(predicted.float(), shares)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % 25 == 0:
            rate = (time.monotonic() - start) / step
            log.info("step %d loss %.4f, %.2f s a step", step, np.mean(recent[-25:]), rate)


def _settle_norms(
    network: torch.nn.Module, samples: list[Sample], stage: Stage, rng: np.random.Generator
) -> None:
    """Average the normalisation's statistics over many batches, and freeze them.

    Patches differ so much that statistics of a few batches, as training leaves them, serve no
    patch well; with frozen ones the network trains as it will be used.
    """
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(SETTLING_BATCHES):
            network(_batch(rng, samples, stage.patch)[0])
    network.eval()


def _batch(
    rng: np.random.Generator, samples: list[Sample], patch: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images, (BATCH, 1, *patch), flipped, shifted, scaled and noisy, and their shares.

    The shares of the classes are (BATCH, CLASSES, *patch), from 0 to 1.
    """
    pairs = [_patch(rng, samples[int(rng.integers(len(samples)))], patch) for _ in range(BATCH)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs])[:, None])
    shares = torch.from_numpy(np.stack([shares for _, shares in pairs]))
    return images, shares.float() / 255


def _patch(
    rng: np.random.Generator, sample: Sample, patch: tuple[int, int, int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return a patch around a voxel of a randomly chosen kind."""
    present = [kind for kind, places in enumerate(sample.anchors) if len(places)]
    shares = np.array([PATCH_SHARES[kind] for kind in present])
    wanted = present[int(rng.choice(len(present), p=shares / shares.sum()))]
    centre = np.unravel_index(int(rng.choice(sample.anchors[wanted])), sample.image.shape)
    where = []
    for place, size, length in zip(centre, patch, sample.image.shape, strict=True):
        first = int(place) - int(rng.integers(size))
        first = min(max(first, 0), length - size)
        where.append(slice(first, first + size))
    image = sample.image[tuple(where)].astype(np.float32)
    shares = sample.shares[(slice(None), *where)]
    flips = tuple(axis for axis in range(3) if rng.random() < 0.5)
    image, shares = np.flip(image, flips), np.flip(shares, tuple(axis + 1 for axis in flips))
    if rng.random() < 0.5:
        image, shares = image.swapaxes(0, 1), shares.swapaxes(1, 2)
    gain, offset = rng.uniform(0.97, 1.03), rng.uniform(-0.008, 0.008)
    noise = rng.uniform(0, 0.008) * rng.standard_normal(image.shape, dtype=np.float32)
    image = np.clip(image * gain + offset + noise, 0.0, BRIGHTEST).astype(np.float32)
    return image, np.ascontiguousarray(shares)


if __name__ == "__main__":
    main()
