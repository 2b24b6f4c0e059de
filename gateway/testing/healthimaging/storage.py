"""Where the bytes of frames lie: one file each, under names that the service made."""

from dataclasses import dataclass
from pathlib import Path

from gateway.testing.healthimaging.identifiers import new_identifier


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """A folder of blobs; each is written once."""

    folder: Path

    def put(self, content: bytes) -> str:
        """Keep bytes, and return the identifier that they are had by."""
        identifier = new_identifier()
        self.path(identifier).write_bytes(content)
        return identifier

    def get(self, identifier: str) -> bytes:
        """Return bytes that `put` kept."""
        return self.path(identifier).read_bytes()

    def discard(self, identifier: str) -> None:
        """Forget bytes."""
        self.path(identifier).unlink(missing_ok=True)

    def path(self, identifier: str) -> Path:
        """Return the file of an identifier of `put`."""
        return self.folder / identifier
