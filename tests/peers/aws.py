"""AWS's command line, as a program."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.peers.cloud import Cloud

_LONGEST_SECONDS = 60.0


def medical_imaging(cloud: Cloud, *words: str) -> dict[str, Any]:
    """Run ``aws medical-imaging ...`` and return what it prints."""
    program = Path(sys.executable).with_name("aws")
    done = subprocess.run(
        [sys.executable, program, "medical-imaging", *words, "--output", "json"],
        env={**cloud.environment, "PATH": "/usr/bin:/bin"},
        timeout=_LONGEST_SECONDS,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)) if done.stdout.strip() else {}
