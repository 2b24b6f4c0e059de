"""The project as a new user gets it."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.peers.node import ROOT


def clean_checkout(target: Path) -> Path:
    """Copy what git tracks, or would track, and nothing that a build or a run left behind."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def user_environment(temporary: Path, **more: str) -> dict[str, str]:
    """Return an environment without traces of the tests' own; temporary files go to a folder."""
    temporary.mkdir(parents=True, exist_ok=True)
    dropped = ("GATEWAY_", "VIRTUAL_ENV", "PYTHONPATH", "PYTEST_", "OMP_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "TMPDIR": str(temporary), **more}
