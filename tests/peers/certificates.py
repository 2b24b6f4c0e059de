"""Certificates for tests of TLS, made by the ``openssl`` command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """A certificate with its key, both PEM."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of its own that lasts for a day."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._own = _paths(folder, name)
        _openssl("req", "-x509", *_new_key(self._own), "-subj", f"/CN={name}", "-days", "1")

    @property
    def certificate(self) -> Path:
        """What others must trust to trust those whom the authority knows."""
        return self._own.certificate

    def issue(self, name: str, *, stands_for: str = "IP:127.0.0.1,DNS:localhost") -> Identity:
        """Make a certificate of a peer, by default of one on this machine."""
        identity = _paths(self._folder, name)
        _openssl(
            *("req", "-x509", *_new_key(identity), "-subj", f"/CN={name}", "-days", "1"),
            *("-CA", str(self._own.certificate), "-CAkey", str(self._own.key)),
            *("-addext", f"subjectAltName={stands_for}"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        )
        return identity


def _paths(folder: Path, name: str) -> Identity:
    return Identity(certificate=folder / f"{name}.pem", key=folder / f"{name}.key")


def _new_key(identity: Identity) -> list[str]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    return [*curve, "-keyout", str(identity.key), "-out", str(identity.certificate)]


def _openssl(*words: str) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
