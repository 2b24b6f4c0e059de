"""The key of pseudonyms: a file that only the node's user may read."""

import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.dicom.deidentification import KEY_BYTES
from gateway.errors import KeyUnusable
from gateway.store.filesystem import fsync_folder, store_errors

_KEY_ID_DIGITS = 16
_OF_OTHERS = 0o077


@dataclass(frozen=True, kw_only=True, slots=True)
class PseudonymKey:
    """The key, from which those for each purpose are derived."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Tell this key from others, and nothing more about it."""
        return self._derived("id").hex()[:_KEY_ID_DIGITS]

    @property
    def hashing(self) -> bytes:
        """The key of the keyed hashes."""
        return self._derived("hash")

    @property
    def sealing(self) -> bytes:
        """The key that what pseudonyms stand for is encrypted with."""
        return self._derived("seal")

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self.secret, f"gateway pseudonyms {purpose}".encode(), "sha256")


def read_key(path: Path) -> PseudonymKey | None:
    """Return the key of a file, or nothing where there is no such file.

    Raises:
        KeyUnusable: the file cannot be read, may be read by others, or holds no key.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text("ascii").strip()
        secret = bytes.fromhex(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyUnusable(f"the key {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise KeyUnusable(f"{path} holds no key: it takes 64 hexadecimal digits") from error
    if mode & _OF_OTHERS:
        raise KeyUnusable(f"others may read the key {path}; run: chmod 600 {path}")
    if len(secret) != KEY_BYTES:
        raise KeyUnusable(f"{path} holds no key: it takes 64 hexadecimal digits")
    return PseudonymKey(secret=secret)


def make_key(path: Path) -> PseudonymKey:
    """Make the key's file, whole or not at all; where another process was first, that one stays.

    Raises:
        StoreFull, StoreUnavailable: the file system took no file.
        KeyUnusable: as `read_key`.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with store_errors():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{secrets.token_hex(KEY_BYTES)}\n".encode())
            os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(draft, path)
            fsync_folder(path.parent)
        finally:
            os.close(descriptor)
            os.unlink(draft)
    key = read_key(path)
    if key is None:
        raise KeyUnusable(f"the key {path} was taken away as it was made")
    return key
