"""Slices decoded by processes: the same values, and no crash or stall but of the one process."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from gateway.errors import BundleHostLost, DataSetUnreadable, InputRefused
from gateway.inference.decoders import Decoders
from gateway.inference.volume import read_volume
from gateway.inference.volume_plan import VolumePlan, plan_volumes
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series
from tests.peers.processes import wait_until

SLICES = 20


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(2) as running:
        running.start()
        yield running


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    acquisition = Acquisition(
        rows=64, columns=48, slices=SLICES, row_spacing_mm=3, column_spacing_mm=3
    )
    return write_series(scan(Anatomy.asymmetric_object(), acquisition), tmp_path)


def compress(paths: Sequence[Path], syntax: str) -> None:
    for path in paths:
        dataset = dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path)


def plan_of(paths: Sequence[Path]) -> VolumePlan:
    (plan,) = plan_volumes(paths)
    return plan


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
def test_values_are_those_of_one_process(
    decoders: Decoders, paths: list[Path], syntax: str | None
) -> None:
    if syntax is not None:
        compress(paths, syntax)
    plan = plan_of(paths)

    assert np.array_equal(read_volume(plan, decoders).array, read_volume(plan).array)


def test_each_slice_keeps_its_own_rescale(decoders: Decoders, paths: list[Path]) -> None:
    for number, path in enumerate(paths):
        dataset = dcmread(path)
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + number, -number
        dataset.save_as(path)
    plan = plan_of(paths)

    assert np.array_equal(read_volume(plan, decoders).array, read_volume(plan).array)


def test_volumes_of_several_threads_do_not_mix(decoders: Decoders, paths: list[Path]) -> None:
    plan = plan_of(paths)
    frames = [plan.frames, plan.frames[::-1]]
    wanted = [read_volume(plan).array, read_volume(plan).array[::-1]]
    found: dict[int, bool] = {}

    def work(number: int) -> None:
        array = decoders.decode(frames[number % 2], plan.geometry.shape)
        found[number] = np.array_equal(array, wanted[number % 2])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == dict.fromkeys(range(6), True)


def test_pixels_that_cannot_be_decoded_are_refused_as_in_one_process(
    decoders: Decoders, paths: list[Path]
) -> None:
    dataset = dcmread(paths[7])
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.PixelData = encapsulate([b"no codestream"])
    dataset.save_as(paths[7])
    plan = plan_of(paths)

    with pytest.raises(InputRefused) as alone:
        read_volume(plan)
    with pytest.raises(InputRefused) as beside:
        read_volume(plan, decoders)

    assert str(beside.value) == str(alone.value)
    assert beside.value.instances == alone.value.instances == (dataset.SOPInstanceUID,)
    assert beside.value.reason == "unreadable-pixels"


def test_a_file_that_is_none_any_more_is_told(decoders: Decoders, paths: list[Path]) -> None:
    plan = plan_of(paths)
    paths[3].write_bytes(b"something else")

    with pytest.raises(DataSetUnreadable, match="no DICOM file"):
        read_volume(plan, decoders)


def test_after_a_refusal_the_next_volume_is_decoded(decoders: Decoders, paths: list[Path]) -> None:
    plan = plan_of(paths)
    content = paths[0].read_bytes()
    paths[0].write_bytes(b"something else")
    with pytest.raises(DataSetUnreadable):
        read_volume(plan, decoders)
    paths[0].write_bytes(content)

    assert np.array_equal(read_volume(plan, decoders).array, read_volume(plan).array)


class TestEarlyDecoding:
    def test_values_are_those_of_decoding_at_once_and_nothing_is_decoded_twice(
        self, decoders: Decoders, paths: list[Path]
    ) -> None:
        for number, path in enumerate(paths):
            dataset = dcmread(path)
            dataset.RescaleSlope, dataset.RescaleIntercept = 0.1 + number / 7, -number
            dataset.save_as(path)
        compress(paths, JPEG2000Lossless)
        plan = plan_of(paths)
        wanted = read_volume(plan).array

        decoders.decode_early(plan.frames[3:11])
        for frame in plan.frames[3:11]:
            frame.path.write_bytes(b"nobody reads this any more")

        assert np.array_equal(read_volume(plan, decoders).array, wanted)

    def test_what_was_let_go_is_decoded_again(self, decoders: Decoders, paths: list[Path]) -> None:
        plan = plan_of(paths)
        decoders.decode_early(plan.frames)
        decoders.early.forget(frame.path for frame in plan.frames[5:])

        assert np.array_equal(read_volume(plan, decoders).array, read_volume(plan).array)

    def test_what_cannot_be_decoded_early_is_refused_when_the_volume_is_read(
        self, decoders: Decoders, paths: list[Path]
    ) -> None:
        dataset = dcmread(paths[7])
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.PixelData = encapsulate([b"no codestream"])
        dataset.save_as(paths[7])
        plan = plan_of(paths)
        with pytest.raises(InputRefused):
            decoders.decode_early(plan.frames)

        with pytest.raises(InputRefused, match="cannot be decoded"):
            read_volume(plan, decoders)


def test_volumes_that_are_decoded_when_the_worker_ends_are_tried_again(paths: list[Path]) -> None:
    plan = plan_of(paths)
    decoders = Decoders(1)
    errors: list[Exception] = []

    def work() -> None:
        try:
            while True:
                read_volume(plan, decoders)
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    decoders.close()
    for thread in threads:
        thread.join(30)
    assert [type(error) for error in errors] == [BundleHostLost] * 3


def test_receivers_and_models_come_before_decoders(decoders: Decoders) -> None:
    decoders.start()
    niceness = {os.getpriority(os.PRIO_PROCESS, pid) for pid in children()}
    assert min(niceness) > os.getpriority(os.PRIO_PROCESS, 0)


class TestAProcessThatIsLost:
    @pytest.fixture
    def stalling(self, paths: list[Path], tmp_path: Path) -> VolumePlan:
        """A volume of which one file gives no byte and no end."""
        plan = plan_of(paths)
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        frames = list(plan.frames)
        frames[5] = replace(frames[5], path=pipe)
        return replace(plan, frames=tuple(frames))

    def test_one_that_stalls_is_ended_and_the_instance_named(
        self, stalling: VolumePlan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.inference.decoders._LEAST_SECONDS", 4.0)
        with Decoders(2, seconds_per_slice=0.1) as decoders:
            with pytest.raises(InputRefused, match="was not done after") as refused:
                read_volume(stalling, decoders)
            assert refused.value.instances == (stalling.frames[5].sop_instance_uid,)

    def test_one_that_crashes_costs_its_instance_only(
        self, stalling: VolumePlan, paths: list[Path]
    ) -> None:
        with Decoders(2) as decoders:
            decoders.start()
            pipe = stalling.frames[5].path
            killer = threading.Thread(target=kill_readers, args=(pipe,), daemon=True)
            killer.start()
            with pytest.raises(InputRefused, match="was ended by signal 9") as refused:
                read_volume(stalling, decoders)
            assert refused.value.instances == (stalling.frames[5].sop_instance_uid,)
            plan = plan_of(paths)
            assert np.array_equal(read_volume(plan, decoders).array, read_volume(plan).array)
            killer.join()


def test_one_that_was_killed_meanwhile_is_replaced(paths: list[Path]) -> None:
    plan = plan_of(paths)
    with Decoders(2) as decoders:
        decoders.start()
        os.kill(children()[0], signal.SIGKILL)

        assert np.array_equal(read_volume(plan, decoders).array, read_volume(plan).array)


def test_no_process_stays_behind(paths: list[Path]) -> None:
    before = set(children())
    with Decoders(2) as decoders:
        read_volume(plan_of(paths), decoders)
        assert len(set(children()) - before) == 2
    assert set(children()) == before


def children() -> list[int]:
    """Return the decoding processes that this process started last."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and "gateway.inference.decoder" in command(entry):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid():
                found.append(int(entry.name))
    return sorted(found, reverse=True)


def command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def kill_readers(pipe: Path) -> None:
    """Kill who reads the pipe, first with others of its portion to decode, then alone."""
    for _ in range(2):
        with pipe.open("wb"):  # waits for a reader
            reader = wait_until(partial(reader_of, pipe), "somebody reads", 10, 0.01)
            os.kill(reader, signal.SIGKILL)
            wait_until(lambda: reader_of(pipe) is None, "it is dead", 10, 0.01)


def reader_of(pipe: Path) -> int | None:
    return next((pid for pid in children() if reads(pid, pipe)), None)


def reads(pid: int, pipe: Path) -> bool:
    """Tell whether a process has the pipe open."""
    try:
        return any(link.readlink() == pipe for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
