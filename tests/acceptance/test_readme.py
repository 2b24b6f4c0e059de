"""The README's commands, run as a new user runs them: in a clean checkout."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.peers.checkout import clean_checkout, user_environment
from tests.peers.node import ROOT

SET_UP_AND_DEMO = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/gateway demo"


def test_the_first_commands_are_the_demo_and_the_tests() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    commands = [block.strip() for block in blocks if block[0].isascii() and block[0] not in " \n"]

    assert commands[:2] == [SET_UP_AND_DEMO, "tests/run"]
    assert os.access(ROOT / "tests" / "run", os.X_OK)


@pytest.mark.timeout(900)
def test_set_up_and_demo_work_in_a_clean_checkout(tmp_path: Path) -> None:
    checkout = clean_checkout(tmp_path / "gateway")

    done = subprocess.run(
        ["bash", "-c", SET_UP_AND_DEMO],
        cwd=checkout,
        env=user_environment(tmp_path / "temporary"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=880,
    )

    # More than a gigabyte, which pytest would keep for three runs.
    shutil.rmtree(checkout / ".venv", ignore_errors=True)
    assert done.returncode == 0, done.stdout.decode()[-6000:]
    assert (checkout / "seg.dcm").is_file()
    assert (checkout / "overlay.png").is_file()
    assert not re.search(rb"^(ERROR|Traceback)", done.stdout, flags=re.MULTILINE)
