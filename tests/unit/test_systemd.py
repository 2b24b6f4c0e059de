"""The files that make the gateway a service of the machine."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "systemd"


class _Unit(configparser.RawConfigParser):
    """A unit file; of an option given several times the last counts."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture
def service() -> configparser.SectionProxy:
    unit = _Unit(strict=False, interpolation=None, delimiters=("=",))
    unit.read(FOLDER / "gateway.service", encoding="utf-8")
    return unit["Service"]


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (FOLDER / "gateway.service").read_text(encoding="utf-8")
    program = shutil.which("true")
    assert program is not None
    copy = tmp_path / "gateway.service"
    copy.write_text(text.replace("/opt/gateway/bin/gateway", program), encoding="utf-8")

    verified = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60
    )

    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_unit_runs_the_node_as_its_own_user(service: configparser.SectionProxy) -> None:
    users = (FOLDER / "gateway.sysusers.conf").read_text(encoding="utf-8")

    assert service["ExecStart"].endswith("gateway serve --config /etc/gateway/gateway.toml")
    assert service["Type"] == "notify"
    assert f"u {service['User']} - " in users


def test_the_unit_waits_longer_than_the_node_drains(service: configparser.SectionProxy) -> None:
    assert int(service["TimeoutStopSec"]) > 30


def test_the_node_may_write_its_data_and_nothing_else(service: configparser.SectionProxy) -> None:
    assert service["ProtectSystem"] == "strict"
    assert service["ProtectHome"] == "yes"
    assert service["StateDirectory"] == "gateway"
    assert "ReadWritePaths" not in service


def test_the_node_may_compile_kernels_and_reach_a_gpu(service: configparser.SectionProxy) -> None:
    assert "MemoryDenyWriteExecute" not in service
    assert "PrivateDevices" not in service
    assert "nvidia" in service["DeviceAllow"]


def test_every_folder_of_the_service_has_an_owner_and_no_access_for_others() -> None:
    lines = (FOLDER / "gateway.tmpfiles.conf").read_text(encoding="utf-8").splitlines()
    folders = [line.split() for line in lines if not line.startswith("#")]

    assert {"/var/lib/gateway", "/etc/gateway"} <= {words[1] for words in folders}
    assert all(words[2].endswith("0") and "gateway" in words[3:5] for words in folders)
