"""MONAI bundles on disk, each with its deployment descriptor.

A bundle is code: its configuration is evaluated and its scripts are imported. What is loaded is
therefore exactly what the operator verified, by a digest over its files that the descriptor
names.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigurationInvalid, NotFound, Problem
from gateway.inference.agreement import disagreements
from gateway.inference.descriptor import Descriptor, load_descriptor
from gateway.inference.metadata import Metadata, read_metadata
from gateway.positions import load_yaml

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
"""What a model may be called: it names a folder and stands in results."""

_CONFIG_NAMES = ("inference.json", "inference.yaml", "inference.yml")
_CONFIG_PATTERNS = ("infer*.json", "infer*.yaml", "infer*.yml")
_WEIGHT_SUFFIXES = (".pt", ".pth", ".ts")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A MONAI bundle folder whose necessary files are there."""

    root: Path
    config_file: Path
    metadata_file: Path
    metadata: Metadata
    weights_bytes: int
    """Size of all files of weights together."""

    @property
    def version(self) -> str:
        """The bundle's own version."""
        return self.metadata.version

    @property
    def labels(self) -> frozenset[int]:
        """Label values that metadata.json defines for the output; empty where it defines none."""
        return self.metadata.labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A verified bundle and the descriptor under which it is deployed."""

    name: str
    descriptor: Descriptor
    bundle: Bundle

    @property
    def descriptor_file(self) -> Path:
        """Where the descriptor stands, beside the bundle's folder."""
        return self.bundle.root.parent / f"{self.name}.yaml"

    @property
    def version(self) -> str:
        """The bundle's own version."""
        return self.bundle.version

    @property
    def identity(self) -> str:
        """Digest of all that decides the content of a result but the series: bundle, descriptor."""
        text = f"{self.name}\n{self.version}\n{self.descriptor.model_dump_json(by_alias=True)}"
        return hashlib.sha256(text.encode()).hexdigest()


def bundle_digest(folder: Path) -> str:
    """Digest the files of a bundle that decide what it computes: ``sha256:`` and 64 hex digits.

    Each file counts with its path and content. Left out are docs/, hidden files and Python's
    caches, which change without changing a result. Raises NotFound when there is no folder.
    """
    if not folder.is_dir():
        raise NotFound(f"there is no bundle folder {folder}")
    total = hashlib.sha256()
    for path in sorted(bundle_files(folder), key=lambda path: path.relative_to(folder).as_posix()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return f"sha256:{total.hexdigest()}"


def load_model(
    models_dir: Path, name: str, digest_of: Callable[[Path], str] = bundle_digest
) -> Model:
    """Read the descriptor NAME.yaml and the bundle folder NAME, and verify one by the other.

    ``digest_of`` is for who knows digests already. Raises NotFound when there is no such
    descriptor, and ConfigurationInvalid with every problem of the descriptor, the bundle and
    their agreement.
    """
    path = models_dir / f"{name}.yaml"
    if not MODEL_NAME.fullmatch(name) or not path.is_file():
        raise NotFound(f"there is no model {name!r}: {models_dir} has no descriptor of that name")
    descriptor = load_descriptor(path)
    document = load_yaml(path)[0]
    bundle = read_bundle(models_dir / name, named_in=path)
    found = list(
        disagreements(
            path,
            document,
            descriptor,
            digest=digest_of(bundle.root),
            metadata=bundle.metadata,
            config_file=bundle.config_file,
        )
    )
    if found:
        raise ConfigurationInvalid(found)
    return Model(name=name, descriptor=descriptor, bundle=bundle)


def list_models(
    models_dir: Path, digest_of: Callable[[Path], str] = bundle_digest
) -> tuple[Model, ...]:
    """Load every model of a folder, in the order of names; ``digest_of`` as in `load_model`.

    Raises ConfigurationInvalid with the problems of all of them together.
    """
    models: list[Model] = []
    found: list[Problem] = []
    for path in descriptor_files(models_dir):
        try:
            models.append(load_model(models_dir, path.stem, digest_of))
        except ConfigurationInvalid as error:
            found.extend(error.problems)
        except NotFound as error:
            found.append(Problem(path, 0, 0, str(error)))
        except OSError as error:
            message = f"the bundle cannot be read: {error.strerror} ({error.filename})"
            found.append(Problem(path, 0, 0, message))
    if found:
        raise ConfigurationInvalid(found)
    return tuple(models)


def descriptor_files(models_dir: Path) -> list[Path]:
    """Return the descriptors of a folder by name, without what editors hide beside them."""
    return sorted(path for path in models_dir.glob("*.yaml") if not path.name.startswith("."))


def read_bundle(root: Path, *, named_in: Path) -> Bundle:
    """Find a bundle's files; ``named_in`` is the descriptor that problems are reported at.

    Raises ConfigurationInvalid when the folder, its metadata or its inference configuration is
    missing or unreadable.
    """
    if not root.is_dir():
        raise _invalid(named_in, f"the bundle's folder {root} is missing")
    metadata_file = root / "configs" / "metadata.json"
    return Bundle(
        root=root,
        config_file=_config_file(root / "configs", named_in),
        metadata_file=metadata_file,
        metadata=read_metadata(metadata_file),
        weights_bytes=sum(
            path.stat().st_size
            for path in (root / "models").rglob("*")
            if path.suffix in _WEIGHT_SUFFIXES and path.is_file()
        ),
    )


def _config_file(folder: Path, named_in: Path) -> Path:
    """Return the configuration of the usual name, or the only one that is for inference."""
    for name in _CONFIG_NAMES:
        if (folder / name).is_file():
            return folder / name
    others = [path for pattern in _CONFIG_PATTERNS for path in sorted(folder.glob(pattern))]
    if len(others) == 1:
        return others[0]
    raise _invalid(named_in, f"{folder} holds none of {', '.join(_CONFIG_NAMES)}")


def bundle_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a bundle that its digest is over, in any order."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if parts[0] == "docs" or any(p.startswith(".") or p == "__pycache__" for p in parts):
            continue
        if path.is_file() and path.suffix != ".pyc":
            yield path


def _invalid(path: Path, message: str) -> ConfigurationInvalid:
    return ConfigurationInvalid([Problem(path, 0, 0, message)])
