"""Bundles and series that tests of inference make: small, real, and badly behaved when asked."""

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from gateway.inference import Model, ResultIdentity, bundle_digest, load_model
from gateway.testing.phantom import Anatomy, SamplingGrid
from gateway.testing.scanner import Acquisition, Plane, scan, write_series
from tests.unit.dicom.images import slices

REPOSITORY = Path(__file__).parents[3]

IDENTITY = ResultIdentity(
    input_digest="0" * 64,
    rule="tissue-on-ct",
    created=datetime(2026, 3, 4, 5, 6, 7),
    software_version="0.1.0",
    device_serial_number="GATEWAY",
)

RAISE_HU, CRASH_HU, SLEEP_HU, UNNAMED_HU = 2001, 2002, 2003, 2004
CRASH_ONCE_HU, EXHAUST_HU, DOWNLOAD_HU, EXHAUST_ONCE_HU = 2005, 2006, 2007, 2008
"""The bundle of `threshold_bundle` misbehaves on a volume whose highest value is one of these."""

_SCRIPT = f'''
import os
import pathlib
import time
import urllib.request

import torch


class Thresholds(torch.nn.Module):
    """One-hot scores of air, soft tissue and bone by thresholds, which are its weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("limits", torch.zeros(2))

    def has_happened(self):
        note = pathlib.Path(__file__).with_name(".happened")  # hidden: no part of the digest
        return note.exists() or note.touch()

    def forward(self, image):
        highest = int(image.max())
        if highest == {RAISE_HU}:
            raise ValueError("the bundle does not like this volume")
        if highest == {CRASH_HU}:
            os.abort()
        if highest == {SLEEP_HU}:
            time.sleep(60)
        if highest == {DOWNLOAD_HU}:
            urllib.request.urlopen("http://127.0.0.1:9/weights.pt")
        if highest in ({CRASH_ONCE_HU}, {EXHAUST_ONCE_HU}) and not self.has_happened():
            os.abort() if highest == {CRASH_ONCE_HU} else torch.empty(1 << 60)
        if highest == {EXHAUST_HU}:
            torch.empty(1 << 60)
        labels = sum((image > limit).float() for limit in self.limits)
        labels = labels + (7 if highest == {UNNAMED_HU} else 0)
        return torch.cat([(labels == label).float() for label in range(10)], dim=1)
'''

_CONFIG = {
    "bundle_root": ".",
    "imports": ["$from scripts.thresholds import Thresholds"],
    "device": "$torch.device('cpu')",
    "network_def": "$Thresholds()",
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        ],
    },
    "dataset": {"_target_": "Dataset", "data": [], "transform": "@preprocessing"},
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
    "inferer": {"_target_": "SimpleInferer"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@bundle_root + '/eval'"},
        ],
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
    },
    "run": ["$@evaluator.run()"],
}


def code(value: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}


def descriptor(
    digest: str, seconds: float = 60.0, host: Mapping[str, object] | None = None
) -> dict[str, object]:
    """A descriptor as JSON, which is YAML too."""
    return {
        "bundle_digest": digest,
        "host": dict(host or {}),
        "modality": ["CT"],
        "series_description": "Thresholds (test)",
        "content_label": "THRESHOLDS",
        "time_limit_seconds": seconds,
        "segments": [
            {
                "labelID": 2,
                "SegmentLabel": "Left kidney",
                "SegmentedPropertyCategoryCodeSequence": code("123037004", "Body structure"),
                "SegmentedPropertyTypeCodeSequence": code("64033007", "Kidney"),
                "SegmentedPropertyTypeModifierCodeSequence": code("7771000", "Left"),
                "recommendedDisplayRGBValue": [241, 214, 145],
            },
            {
                "labelID": 1,
                "SegmentLabel": "Soft tissue",
                "SegmentedPropertyCategoryCodeSequence": code("85756007", "Tissue"),
                "SegmentedPropertyTypeCodeSequence": code("87784001", "Soft tissue"),
                "recommendedDisplayRGBValue": [221, 130, 101],
            },
        ],
    }


def threshold_bundle(
    models_dir: Path,
    *,
    name: str = "thresholds",
    seconds: float = 60.0,
    host: Mapping[str, object] | None = None,
) -> Model:
    """Write a bundle that labels 1 above -200 HU and 2 above 300 HU, and load it."""
    root = models_dir / name
    for folder in ("configs", "models", "scripts"):
        (root / folder).mkdir(parents=True)
    (root / "configs" / "inference.json").write_text(json.dumps(_CONFIG))
    (root / "configs" / "metadata.json").write_text(json.dumps({"version": "1.2.3"}))
    (root / "scripts" / "__init__.py").touch()
    (root / "scripts" / "thresholds.py").write_text(_SCRIPT)
    torch.save({"limits": torch.tensor([-200.0, 300.0])}, root / "models" / "model.pt")
    content = descriptor(bundle_digest(root), seconds, host)
    (models_dir / f"{name}.yaml").write_text(json.dumps(content))
    return load_model(models_dir, name)


def ct_tissue(models_dir: Path) -> Model:
    """Copy the bundle that the product ships, and deploy it as it is now."""
    shutil.copytree(REPOSITORY / "models" / "ct_tissue", models_dir / "ct_tissue")
    text = (REPOSITORY / "models" / "ct_tissue.yaml").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("bundle_digest:")]
    now = f"bundle_digest: {bundle_digest(models_dir / 'ct_tissue')}"
    (models_dir / "ct_tissue.yaml").write_text(text.replace(line, now))
    return load_model(models_dir, "ct_tissue")


def tilted_series(folder: Path) -> Sequence[Path]:
    """Scan the same object with a gantry tilted by 15 degrees, its table moving along z."""
    angle = np.radians(15)
    steps = ((0, 0, 5.5), (0, 2.5 * np.cos(angle), 2.5 * np.sin(angle)), (3.0, 0, 0))
    shape = (19, 44, 37)
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(steps)
    affine[:3, 3] = (33.0, -45.0, 110.0) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    x, y, z = (float(value) for value in affine[:3, 3])
    grid = SamplingGrid(origin_lps_mm=(x, y, z), steps_lps_mm=steps, shape=shape)
    hounsfield, _ = Anatomy.asymmetric_object().sample_grid(grid)
    return write_series(slices(hounsfield, affine, "tilted"), folder)


def phantom_series(
    folder: Path, plane: Plane = Plane.AXIAL, *, highest_hu: int | None = None
) -> Sequence[Path]:
    """Scan an asymmetric object with unequal spacings along slices, rows and columns."""
    acquisition = Acquisition(
        plane=plane,
        rows=44,
        columns=37,
        slices=19,
        row_spacing_mm=2.5,
        column_spacing_mm=3.0,
        slice_spacing_mm=5.5,
        centre_lps_mm=(33.0, -45.0, 110.0),
        noise_hu=0.0,
        shuffled=True,
    )
    datasets = scan(Anatomy.asymmetric_object(), acquisition)
    if highest_hu is not None:
        pixels = bytearray(datasets[0].PixelData)
        pixels[:2] = highest_hu.to_bytes(2, "little")
        datasets[0].PixelData = bytes(pixels)
    return write_series(datasets, folder)
