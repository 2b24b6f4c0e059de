"""What could not be understood is set aside, never thrown away."""

import json
import time
import uuid
from pathlib import Path


class Quarantine:
    """A folder of refused bytes, each with a note beside it."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "quarantine"
        self._folder.mkdir(parents=True, exist_ok=True)

    def set_aside(self, content: bytes, note: dict[str, str]) -> Path:
        """Write bytes and the reason of their refusal; return where they lie."""
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:12]}"
        path = self._folder / f"{name}.bin"
        path.write_bytes(content)
        (self._folder / f"{name}.json").write_text(json.dumps(note, indent=2) + "\n")
        return path
