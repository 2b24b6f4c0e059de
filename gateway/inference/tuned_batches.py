"""Batch sizes that were found once, in a JSON file: {bundle digest: {device: windows}}."""

import json
import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

_FILE_NAME = "tuned_batches.json"
_MOST = 4096


class TunedBatches:
    """The file in a folder; what is not readable in it counts as not tuned yet."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE_NAME

    def get(self, digest: str, device: str) -> int | None:
        """Return the batch size of a bundle on a device, or None where none is known."""
        of_bundle = self._content().get(digest)
        found = of_bundle.get(device) if isinstance(of_bundle, dict) else None
        is_size = isinstance(found, int) and not isinstance(found, bool) and 0 < found <= _MOST
        return found if is_size else None

    def put(self, digest: str, device: str, size: int) -> None:
        """Remember a size; raises OSError where the file cannot be written."""
        content = self._content()
        of_bundle = content.get(digest)
        content[digest] = {**(of_bundle if isinstance(of_bundle, dict) else {}), device: size}
        with NamedTemporaryFile("w", dir=self._path.parent, delete=False) as file:
            json.dump(content, file, indent=1, sort_keys=True)
        os.replace(file.name, self._path)

    def _content(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
