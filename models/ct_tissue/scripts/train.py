"""Train the network on generated phantoms; the same seed gives the same weights.

Usage: ``python models/ct_tissue/scripts/train.py [--volumes N] [--steps N] [--out FILE]``.
The gateway package must be importable, since its phantom scanner makes the volumes.
"""

import argparse
import logging
import time
from concurrent.futures import ProcessPoolExecutor
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
PATCH = (128, 128, 32)
BATCH = 2
LEARNING_RATE = 3e-3
CLASSES = 4
CLASS_SHARES = (0.2, 0.25, 0.2, 0.35)
log = logging.getLogger("train")


class Sample(NamedTuple):
    """A phantom on the network's grid: scaled image, labels, and some voxels of each class."""

    image: NDArray[np.float16]
    labels: NDArray[np.uint8]
    anchors: tuple[NDArray[np.int64], ...]


def main() -> None:
    """Make the volumes, train, and save the weights as a plain state dict."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    start = time.monotonic()
    samples = _samples(range(arguments.seed, arguments.seed + arguments.volumes))
    log.info("%d volumes in %.0f s", len(samples), time.monotonic() - start)
    parser = _parser()
    network = parser.get_parsed_content("network_def")
    if arguments.resume:
        network.load_state_dict(torch.load(arguments.resume, weights_only=True))
    _fit(network, samples, steps=arguments.steps, seed=arguments.seed)
    torch.save({name: value.cpu() for name, value in network.state_dict().items()}, arguments.out)
    log.info("trained in %.0f s, saved %s", time.monotonic() - start, arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", type=int, default=140, help="phantoms to train on")
    parser.add_argument("--steps", type=int, default=1500, help="optimiser steps")
    parser.add_argument("--seed", type=int, default=1, help="first phantom's seed")
    parser.add_argument("--resume", type=Path, help="weights to start from")
    parser.add_argument("--out", type=Path, default=BUNDLE / "models" / "model.pt")
    return parser.parse_args()


def _parser() -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "inference.json"))
    return parser


def _preprocessing() -> Compose:
    """Return the bundle's own preprocessing, for image and labels together, without files."""
    parser = _parser()
    kept = []
    for transform in parser["preprocessing#transforms"]:
        name = transform["_target_"]
        if name == "LoadImaged":
            continue
        both = name in ("EnsureChannelFirstd", "Orientationd", "Spacingd", "EnsureTyped")
        changed = {**transform, "keys": ["image", "label"] if both else "image"}
        if name == "Spacingd":
            changed["mode"] = ["bilinear", "nearest"]
        kept.append(changed)
    parser["preprocessing#transforms"] = kept
    return parser.get_parsed_content("preprocessing")


def _samples(seeds: range) -> list[Sample]:
    """Return the volumes of these seeds on the network's grid, made by two processes."""
    with ProcessPoolExecutor(max_workers=2) as pool:
        return list(pool.map(_sample, seeds, chunksize=4))


def _sample(seed: int) -> Sample:
    torch.set_num_threads(1)
    volume = random_volume(seed)
    done = _preprocessing()({"image": volume.image(), "label": volume.label_image()})
    image = done["image"][0].numpy().astype(np.float16)
    labels = done["label"][0].numpy().astype(np.uint8)
    short = [max(0, want - have) for want, have in zip(PATCH, image.shape, strict=True)]
    widths = [(n // 2, n - n // 2) for n in short]
    image, labels = np.pad(image, widths, "edge"), np.pad(labels, widths, "edge")
    rng = np.random.default_rng(seed)
    anchors = []
    for value in range(CLASSES):
        places = np.flatnonzero(labels == value)
        anchors.append(rng.choice(places, size=min(len(places), 2000)) if len(places) else places)
    return Sample(image, labels, tuple(anchors))


def _fit(network: torch.nn.Module, samples: list[Sample], *, steps: int, seed: int) -> None:
    """Train in place with AdamW on a one-cycle schedule and Dice plus cross-entropy loss."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=steps, pct_start=0.15
    )
    loss_of = DiceCELoss(softmax=True, to_onehot_y=True, batch=True)
    network.train()
    start, recent = time.monotonic(), []
    for step in range(1, steps + 1):
        images, labels = _batch(rng, samples)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            predicted = network(images)
        loss = loss_of(predicted.float(), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % 50 == 0:
            rate = (time.monotonic() - start) / step
            log.info("step %d loss %.4f, %.2f s a step", step, np.mean(recent[-50:]), rate)


def _batch(rng: np.random.Generator, samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and labels, each (BATCH, 1, *PATCH), flipped, shifted, scaled and noisy."""
    pairs = [_patch(rng, samples[int(rng.integers(len(samples)))]) for _ in range(BATCH)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs])[:, None])
    labels = torch.from_numpy(np.stack([labels for _, labels in pairs])[:, None].astype(np.int64))
    return images, labels


def _patch(
    rng: np.random.Generator, sample: Sample
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return a patch around a voxel of a randomly chosen class."""
    present = [value for value in range(CLASSES) if len(sample.anchors[value])]
    shares = np.array([CLASS_SHARES[value] for value in present])
    wanted = present[int(rng.choice(len(present), p=shares / shares.sum()))]
    centre = np.unravel_index(int(rng.choice(sample.anchors[wanted])), sample.labels.shape)
    where = []
    for place, size, length in zip(centre, PATCH, sample.labels.shape, strict=True):
        first = int(place) - int(rng.integers(size))
        first = min(max(first, 0), length - size)
        where.append(slice(first, first + size))
    image, labels = sample.image[tuple(where)].astype(np.float32), sample.labels[tuple(where)]
    flips = tuple(axis for axis in range(3) if rng.random() < 0.5)
    image, labels = np.flip(image, flips), np.flip(labels, flips)
    if rng.random() < 0.5:
        image, labels = image.swapaxes(0, 1), labels.swapaxes(0, 1)
    gain, offset = rng.uniform(0.97, 1.03), rng.uniform(-0.008, 0.008)
    noise = rng.uniform(0, 0.008) * rng.standard_normal(image.shape, dtype=np.float32)
    image = np.clip(image * gain + offset + noise, 0.0, 1.0).astype(np.float32)
    return image, np.ascontiguousarray(labels)


if __name__ == "__main__":
    main()
