"""What could not be understood is set aside, never thrown away."""

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from gateway.store.filesystem import store_error


class Quarantine:
    """A folder of refused bytes, each with a note beside it."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "quarantine"
        self._folder.mkdir(parents=True, exist_ok=True)

    def set_aside(self, write: Callable[[BinaryIO], None], note: dict[str, str]) -> Path:
        """Keep what ``write`` writes and the reason of its refusal; return where it lies.

        Raises:
            StoreFull, StoreUnavailable: the file system took no more; nothing is left there.
        """
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:12]}"
        path = self._folder / f"{name}.bin"
        try:
            with path.open("wb") as file:
                write(file)
            path.with_suffix(".json").write_text(json.dumps(note, indent=2) + "\n")
        except OSError as error:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
            raise store_error(error) from error
        return path
