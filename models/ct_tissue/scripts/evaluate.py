"""Measure the bundle: Dice on held-out phantoms and agreement with thresholds on a real CT.

Usage: ``python models/ct_tissue/scripts/evaluate.py [--dicom FOLDER]``. Everything runs through
the bundle's own preprocessing, inferer and postprocessing, and is compared voxel by voxel on the
grid of the source.
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from numpy.typing import NDArray
from pydicom import dcmread
from scipy import ndimage
from volumes import Volume, random_volume

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, acquire

BUNDLE = Path(__file__).resolve().parent.parent
NAMES = ("background", "lung and air", "soft tissue", "bone")
FIRST_HELD_OUT_SEED = 300_000
BODY_ABOVE_HU, AIR_BELOW_HU, BONE_ABOVE_HU = -300.0, -300.0, 200.0
Labels = NDArray[np.uint8]
log = logging.getLogger("evaluate")


class Bundle:
    """The bundle in memory: its configuration without the transforms that read and write files."""

    def __init__(self, weights: Path) -> None:
        parser = ConfigParser()
        parser.read_config(str(BUNDLE / "configs" / "inference.json"))
        for steps in ("preprocessing#transforms", "postprocessing#transforms"):
            parser[steps] = [step for step in parser[steps] if step["_target_"] not in _FILE_STEPS]
        self._before = parser.get_parsed_content("preprocessing")
        self._after = parser.get_parsed_content("postprocessing")
        self._inferer = parser.get_parsed_content("inferer")
        self._device = parser.get_parsed_content("device")
        self._network = parser.get_parsed_content("network")
        self._network.load_state_dict(torch.load(weights, weights_only=True))
        self._network.eval()

    def __call__(self, image: MetaTensor) -> Labels:
        """Return the labels, (slices, rows, columns), of a (columns, rows, slices) image."""
        with torch.inference_mode():
            data = self._before({"image": image})
            batch = data["image"][None].to(self._device)
            data["pred"] = self._inferer(batch, self._network)[0].cpu()
            labels = self._after(data)["pred"][0].numpy().astype(np.uint8)
        return labels.transpose(2, 1, 0)


_FILE_STEPS = ("LoadImaged", "SaveImaged")


def main() -> None:
    """Print the tables of the model card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=24, help="held-out phantoms to measure")
    parser.add_argument("--dicom", type=Path, help="folder of one real CT series")
    parser.add_argument("--weights", type=Path, default=BUNDLE / "models" / "model.pt")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bundle = Bundle(arguments.weights)
    _measure_demo(bundle)
    _measure_phantoms(bundle, arguments.phantoms)
    if arguments.dicom:
        _measure_dicom(bundle, arguments.dicom)


def _measure_demo(bundle: Bundle) -> None:
    """Time one axial torso of 512 x 512 x 60 voxels, pre- and postprocessing included."""
    acquisition = Acquisition(seed=FIRST_HELD_OUT_SEED)
    hounsfield, labels = acquire(Anatomy.torso(FIRST_HELD_OUT_SEED), acquisition)
    volume = Volume(hounsfield=hounsfield, labels=labels, affine_lps=acquisition.affine_lps)
    start = time.monotonic()
    predicted = bundle(volume.image())
    seconds = time.monotonic() - start
    log.info("axial torso 512 x 512 x 60, %.1f s on %d threads", seconds, torch.get_num_threads())
    _report(_counts(predicted, labels))


def _measure_phantoms(bundle: Bundle, number: int) -> None:
    """Report Dice over all voxels of the held-out phantoms, and the worst and median phantom."""
    total, single = np.zeros((4, 3)), []
    for seed in range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + number):
        volume = random_volume(seed)
        counts = _counts(bundle(volume.image()), volume.labels)
        total += counts
        single.append(np.where(counts[:, 2] >= 200, _dice(counts), np.nan))
        log.debug("%d %s", seed, np.round(single[-1], 3))
    log.info("%d held-out phantoms, all voxels together", number)
    _report(total)
    scores = np.array(single)
    for value, name in enumerate(NAMES):
        median, lowest = np.nanmedian(scores[:, value]), np.nanmin(scores[:, value])
        log.info("  %-13s per phantom: median %.3f, lowest %.3f", name, median, lowest)


def _measure_dicom(bundle: Bundle, folder: Path) -> None:
    """Report the agreement with Hounsfield thresholds inside the body of a real axial CT."""
    hounsfield, affine_lps = _read_series(folder)
    volume = Volume(
        hounsfield=hounsfield,
        labels=np.zeros(hounsfield.shape, dtype=np.uint8),
        affine_lps=affine_lps,
    )
    predicted = bundle(volume.image())
    body = _body(hounsfield)
    expected = np.full(hounsfield.shape, 2, dtype=np.uint8)
    expected[hounsfield < AIR_BELOW_HU] = 1
    expected[hounsfield > BONE_ABOVE_HU] = 3
    log.info("real CT %s, inside the body (%d voxels)", hounsfield.shape, body.sum())
    log.info("  voxels that agree: %.4f", np.mean(predicted[body] == expected[body]))
    _report(_counts(predicted[body], expected[body]))
    filled = np.where(body & _filled(expected == 3), 3, expected).astype(np.uint8)
    log.info("  the same with bone filled per slice, so that marrow counts as bone")
    log.info("  voxels that agree: %.4f", np.mean(predicted[body] == filled[body]))
    _report(_counts(predicted[body], filled[body]))


def _read_series(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return an axial series in Hounsfield units, sorted by position, and its LPS affine."""
    slices = sorted(
        (dcmread(path) for path in folder.iterdir()),
        key=lambda dataset: float(dataset.ImagePositionPatient[2]),
    )
    images = [
        dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        for dataset in slices
    ]
    first, last = slices[0], slices[-1]
    row_mm, column_mm = (float(value) for value in first.PixelSpacing)
    step = np.subtract(last.ImagePositionPatient, first.ImagePositionPatient) / (len(slices) - 1)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = np.array(first.ImageOrientationPatient[3:]) * row_mm
    affine[:3, 2] = np.array(first.ImageOrientationPatient[:3]) * column_mm
    affine[:3, 3] = first.ImagePositionPatient
    return np.stack(images).astype(np.float32), affine


def _body(hounsfield: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the largest component of tissue, with the holes of every slice filled."""
    found, _ = ndimage.label(hounsfield > BODY_ABOVE_HU)
    sizes = np.bincount(found.ravel())
    sizes[0] = 0
    return _filled(found == sizes.argmax())


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.stack([ndimage.binary_fill_holes(image) for image in mask])


def _counts(predicted: Labels, expected: Labels) -> NDArray[np.float64]:
    """Return, per class, the voxels in both, in the prediction, and in the expectation."""
    return np.array(
        [
            [
                np.count_nonzero((predicted == value) & (expected == value)),
                np.count_nonzero(predicted == value),
                np.count_nonzero(expected == value),
            ]
            for value in range(len(NAMES))
        ],
        dtype=np.float64,
    )


def _dice(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2 * counts[:, 0] / np.maximum(counts[:, 1] + counts[:, 2], 1)


def _report(counts: NDArray[np.float64]) -> None:
    for name, dice, expected in zip(NAMES, _dice(counts), counts[:, 2], strict=True):
        if expected:
            log.info("  %-13s Dice %.4f", name, dice)


if __name__ == "__main__":
    main()
