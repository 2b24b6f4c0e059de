"""The demo, from the installed wheel, in a folder that knows nothing of the project."""

import re
import subprocess
import sys
import time
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series
from tests.peers.checkout import clean_checkout, user_environment
from tests.peers.corpus import Corpus, made_uid
from tests.peers.node import ROOT
from tests.peers.processes import processes_with
from tests.peers.segmentation import read_label_map

pytestmark = pytest.mark.timeout(240)

_MARK = "DEMO_UNDER_TEST"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoRun:
    """What a run of the demo printed and left behind."""

    folder: Path
    temporary: Path
    status: int
    text: str
    seconds: float
    left_running: dict[int, str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a clean checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = clean_checkout(folder / "source")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel to a folder of its own; its dependencies are those of the tests."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "--target", str(target), str(wheel)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="module")
def demo(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """Run the demo as it comes."""
    return run_demo(installed, tmp_path_factory.mktemp("demo"))


def test_the_wheel_carries_models_rules_and_units(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    for folder in ("models", "routing_rules", "systemd"):
        shipped = {path.name for path in (ROOT / folder).iterdir() if path.name != "__pycache__"}
        held = {name.split("/")[3] for name in names if name.startswith(f"gateway/share/{folder}/")}
        assert shipped <= held
    assert "gateway/share/models/ct_tissue/models/model.pt" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


@pytest.mark.alone
def test_the_demo_succeeds_within_a_minute(demo: DemoRun) -> None:
    assert demo.status == 0, demo.text
    assert demo.seconds < 60


def test_the_demo_prints_timings_and_volumes(demo: DemoRun) -> None:
    for word in ("seconds", "ml", "Lung", "Bone", "seg.dcm", "overlay.png"):
        assert word in demo.text
    assert "Traceback" not in demo.text


def test_the_demo_writes_a_segmentation(demo: DemoRun) -> None:
    seg = read_label_map(demo.folder / "seg.dcm")

    assert len(seg.names) == 3
    assert all((seg.labels == number).sum() > 1000 for number in seg.names)


def test_the_demo_draws_the_segmentation_in_colour(demo: DemoRun) -> None:
    with Image.open(demo.folder / "overlay.png") as image:
        assert image.format == "PNG"
        assert min(image.size) >= 400
        pixels = np.asarray(image.convert("RGB"), dtype=np.int16)

    coloured = (pixels.max(axis=-1) - pixels.min(axis=-1)) > 40
    assert coloured.mean() > 0.02
    assert pixels.std() > 20


def test_the_demo_leaves_nothing_but_its_two_files(demo: DemoRun) -> None:
    assert demo.left_running == {}
    assert {path.name for path in demo.folder.iterdir()} == {"seg.dcm", "overlay.png"}
    assert list(demo.temporary.iterdir()) == []


def test_the_demo_with_a_cloud_brings_series_and_result_there(
    installed: Path, tmp_path: Path
) -> None:
    acquisition = Acquisition(rows=64, columns=64, slices=12, slice_spacing_mm=8.0)
    write_series(scan(Anatomy.asymmetric_object(), acquisition), tmp_path / "phantom")

    demo = run_demo(installed, tmp_path, "--cloud", "--input", str(tmp_path / "phantom"))

    assert demo.status == 0, demo.text
    held = re.findall(r"([0-9a-z]{32})\W+(CT|SEG)\W+(\d+)\W+(\d+)", demo.text)
    assert [row[1:] for row in held] == [("CT", "12", "1"), ("SEG", "1", "1")]
    for stage in ("series in the data store", "SEG in the data store", "SEG at the PACS"):
        assert stage in demo.text
    assert demo.left_running == {}
    assert {path.name for path in demo.folder.iterdir()} == {"seg.dcm", "overlay.png"}
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.corpus
def test_the_demo_takes_a_real_ct(installed: Path, corpus: Corpus, tmp_path: Path) -> None:
    paths = corpus.named(
        corpus.folder("ct-siemens-j2k-totalseg/example_ct_dicom"), "siemens-for-the-demo"
    )

    demo = run_demo(installed, tmp_path, "--input", str(paths[0].parent), "--out", "results")

    assert demo.status == 0, demo.text
    seg = dcmread(demo.folder / "results" / "seg.dcm", stop_before_pixels=True)
    assert seg.StudyInstanceUID == made_uid("study", "siemens-for-the-demo")
    assert (demo.folder / "results" / "overlay.png").is_file()


def test_the_demo_says_what_is_wrong_with_a_folder_without_dicom(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()

    demo = run_demo(installed, tmp_path, "--input", str(tmp_path / "empty"))

    assert demo.status == 1
    assert "no DICOM" in demo.text
    assert "Traceback" not in demo.text
    assert demo.left_running == {}


def run_demo(installed: Path, folder: Path, *words: str) -> DemoRun:
    """Run the installed demo in an empty folder."""
    home = folder / "somewhere"
    home.mkdir()
    mark = uuid.uuid4().hex
    environment = user_environment(
        folder / "temporary",
        PYTHONPATH=str(installed),
        PYTHONDONTWRITEBYTECODE="1",
        **{_MARK: mark},
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "demo", *words],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=200,
    )
    return DemoRun(
        folder=home,
        temporary=folder / "temporary",
        status=done.returncode,
        text=done.stdout.decode(),
        seconds=time.monotonic() - started,
        left_running=processes_with(_MARK, mark),
    )
