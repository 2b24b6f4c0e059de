"""Bundles brought into the models folder: from a folder, an archive, an address, or the MONAI hub.

This is the only place that downloads anything, and it runs when a person asks for it. What was
installed, from where, and its digest are recorded beside the bundle in NAME.origin.json.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import socket
import stat
import tempfile
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from gateway.errors import ConfigurationInvalid, NotFound, Permanent, Rejected
from gateway.inference.bundle import MODEL_NAME, bundle_digest, read_bundle

HUB = "monai:"
"""What a source of the MONAI model zoo starts with: ``monai:NAME`` or ``monai:NAME@VERSION``."""

_CHUNK = 1 << 20
_MOST_BYTES = 32 << 30
_MOST_FILES = 20_000
_SECONDS = 60
# What MONAI's downloads raise, its index and archives being whatever somebody sent.
_OF_MONAI = (
    *(OSError, RuntimeError, ValueError, KeyError, ImportError, AttributeError, TypeError),
    zipfile.BadZipFile,
)
_LARGE_FILES = ("large_files.yml", "large_files.yaml", "large_files.json")


class InstallationRefused(Rejected):
    """A bundle is not what it should be, or would not stay within its folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """A bundle that was installed; ``archive_sha256`` is empty for a folder."""

    name: str
    version: str
    source: str
    archive_sha256: str
    bundle_digest: str


def install(
    source: str, models_dir: Path, *, name: str | None = None, sha256: str | None = None
) -> Installed:
    """Install a bundle as models_dir/NAME, whole or not at all.

    ``source`` is a folder, a zip file, an https address of one, or ``monai:NAME[@VERSION]``.
    ``name`` is the model's name, by default the bundle's; ``sha256`` is what an archive must
    have, and what an address without https needs. Raises NotFound, InstallationRefused, and
    Permanent when a download fails or the model is there already.
    """
    with _workshop(models_dir) as workshop:
        root, named, digest = _brought(source, workshop, sha256)
        name = name or named
        if not MODEL_NAME.fullmatch(name):
            raise InstallationRefused(
                f"a model cannot be called {name!r}; give --name with letters, digits, _ . or -"
            )
        target = models_dir / name
        if target.exists():
            raise Permanent(f"{target} is there already; remove it, or install with --name")
        _fetch_large_files(root)
        version = _checked(root, target)
        installed = Installed(
            name=name,
            version=version,
            source=source,
            archive_sha256=digest,
            bundle_digest=bundle_digest(root),
        )
        os.replace(root, target)
    record = models_dir / f"{name}.origin.json"
    record.write_text(json.dumps(asdict(installed), indent=2) + "\n", encoding="utf-8")
    return installed


@contextmanager
def _workshop(models_dir: Path) -> Iterator[Path]:
    """Give a hidden folder on the file system of the models, and remove it after."""
    models_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".installing-", dir=models_dir))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _brought(source: str, workshop: Path, sha256: str | None) -> tuple[Path, str, str]:
    """Bring a bundle into the workshop; return its folder, its name, and its archive's digest."""
    if source.startswith(HUB):
        return _from_hub(source.removeprefix(HUB), workshop, sha256)
    if urlsplit(source).scheme in ("http", "https"):
        archive = _downloaded(source, workshop, sha256)
        stem = Path(urlsplit(source).path).stem
    else:
        path = Path(source)
        if path.is_dir():
            return _copied(path, workshop), path.resolve().name, ""
        if not path.is_file():
            raise NotFound(f"there is no folder or file {source}")
        archive, stem = path, path.stem
    digest = _digest(archive)
    if sha256 is not None and digest != sha256.lower():
        raise InstallationRefused(f"{source} has the SHA-256 {digest}, and not the one given")
    root = _unpacked(archive, workshop / "unpacked")
    unversioned = re.sub(r"[_-]v?\d+(\.\d+)*$", "", stem)
    return root, unversioned if root.name == "unpacked" else root.name, digest


def _from_hub(wanted: str, workshop: Path, sha256: str | None) -> tuple[Path, str, str]:
    """Have MONAI download a bundle from the address that the index of its model zoo names.

    Left to itself MONAI asks a further hub first, by a package that it does not bring.
    """
    name, _, version = wanted.partition("@")
    if not MODEL_NAME.fullmatch(name):
        raise InstallationRefused(f"{HUB}{wanted} names no bundle; write {HUB}NAME or @VERSION")
    from monai.bundle import download, get_bundle_info, get_bundle_versions

    try:
        with _quiet_monai():
            chosen = version or _newest(get_bundle_versions(name)["all_versions"])
            address = get_bundle_info(name, chosen)["browser_download_url"]
            if urlsplit(address).scheme != "https":
                raise InstallationRefused(f"the MONAI hub names {address}, which is not https")
            download(name=name, url=address, bundle_dir=str(workshop), progress=False)
    except _OF_MONAI as error:
        raise Permanent(f"the MONAI hub did not give {wanted}: {_why(error)}") from error
    digest = _digest(workshop / f"{name}.zip")
    if sha256 is not None and digest != sha256.lower():
        raise InstallationRefused(f"{wanted} has the SHA-256 {digest}, and not the one given")
    return _bundle_root(workshop), name, digest


def _newest(versions: Sequence[str]) -> str:
    """Return the highest version, 0.5.10 being above 0.5.9."""
    return max(versions, key=lambda one: [int(part) for part in re.findall(r"\d+", one)])


@contextmanager
def _quiet_monai() -> Iterator[None]:
    """Keep what MONAI logs and warns of off standard output; wait for no server for ever."""
    before_seconds = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(logging.NOTSET)
        socket.setdefaulttimeout(before_seconds)


def _why(error: Exception) -> str:
    """Say in a few words why MONAI brought nothing."""
    if isinstance(error, zipfile.BadZipFile | EOFError):
        return f"what it sent is no readable zip file ({error})"
    answer = getattr(error, "response", None)
    status = getattr(error, "code", None) or getattr(answer, "status_code", None)
    if status is not None:
        return f"it answered {status}"
    if isinstance(error, OSError):
        return (
            f"it cannot be reached ({type(error).__name__}); HTTPS_PROXY names a proxy, and "
            "REQUESTS_CA_BUNDLE and SSL_CERT_FILE the certificates to trust"
        )
    return str(error)


def _downloaded(address: str, workshop: Path, sha256: str | None) -> Path:
    if urlsplit(address).scheme != "https" and sha256 is None:
        raise InstallationRefused(
            f"{address} is not https, so anybody on the way could change it; give --sha256"
        )
    target = workshop / "archive.zip"
    try:
        with (
            urllib.request.urlopen(address, timeout=_SECONDS) as response,  # noqa: S310 - http(s) only
            target.open("wb") as file,
        ):
            while chunk := response.read(_CHUNK):
                if file.tell() + len(chunk) > _MOST_BYTES:
                    raise InstallationRefused(f"{address} is larger than any bundle")
                file.write(chunk)
    except urllib.error.HTTPError as error:
        raise Permanent(f"{address} answered {error.code} {error.reason}") from error
    except OSError as error:
        raise Permanent(f"{address} could not be downloaded: {error}") from error
    return target


def _copied(source: Path, workshop: Path) -> Path:
    """Copy a bundle's folder; links in it are followed within it, and refused beyond."""
    root = _bundle_root(source).resolve()
    for path in root.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise InstallationRefused(f"{path} is a link to what lies outside of the bundle")
    copy = workshop / "copied"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.pyc"))
    return copy


def _unpacked(archive: Path, folder: Path) -> Path:
    """Unpack a zip file whose members are files and folders within it, and nothing else."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > _MOST_FILES or sum(m.file_size for m in members) > _MOST_BYTES:
                raise InstallationRefused(f"{archive.name} holds more than any bundle")
            for member in members:
                _require_within(member)
            opened.extractall(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InstallationRefused(f"{archive.name} is no readable zip file: {error}") from error
    return _bundle_root(folder)


def _require_within(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    kind = stat.S_IFMT(member.external_attr >> 16)
    leads_out = path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1]
    if leads_out or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InstallationRefused(f"the archive's member {member.filename!r} leads out of it")


def _bundle_root(folder: Path) -> Path:
    """Return the folder that holds configs/metadata.json: this one, or the only one within."""
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    found = [path for path in (folder, *inner) if (path / "configs" / "metadata.json").is_file()]
    if len(found) != 1:
        raise InstallationRefused(
            "this is no MONAI bundle: "
            + ("it holds no configs/metadata.json" if not found else "it holds several")
        )
    return found[0]


def _fetch_large_files(root: Path) -> None:
    """Download the weights that a bundle only names, while downloading is allowed."""
    if any((root / "models").rglob("*.*")) or not any((root / n).exists() for n in _LARGE_FILES):
        return
    from monai.bundle import download_large_files

    try:
        with _quiet_monai():
            download_large_files(bundle_path=str(root))
    except _OF_MONAI as error:
        message = f"the bundle's large files could not be downloaded: {_why(error)}"
        raise Permanent(message) from error


def _checked(root: Path, target: Path) -> str:
    """Return the version of a bundle whose necessary files are there."""
    try:
        return read_bundle(root, named_in=target).version
    except ConfigurationInvalid as error:
        raise InstallationRefused(f"this is no usable bundle: {error}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
