"""dciodvfy, the object validator of dicom3tools."""

import subprocess
from pathlib import Path


def dciodvfy_errors(path: Path) -> list[str]:
    """Return the errors, not the warnings, that dciodvfy reports of a file."""
    done = subprocess.run(
        ["dciodvfy", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    lines = done.stdout.decode(errors="replace").splitlines()
    assert lines, f"dciodvfy said nothing of {path}"
    return [line for line in lines if line.startswith("Error")]
