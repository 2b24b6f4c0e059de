"""MONAI bundles on disk, each with its deployment descriptor.

A bundle is code: its configuration is evaluated and its scripts are imported. What is loaded is
therefore exactly what the operator verified, by a digest over its files that the descriptor
names.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import ConfigurationInvalid, NotFound, Problem
from gateway.inference.descriptor import Descriptor, load_descriptor
from gateway.positions import PositionedDocument, load_yaml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_VERSION = re.compile(r"[ -\[\]-~]{1,20}")
_CONFIG_NAMES = ("inference.json", "inference.yaml", "inference.yml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A MONAI bundle folder whose necessary files are there."""

    root: Path
    config_file: Path
    metadata_file: Path
    version: str
    labels: frozenset[int]
    """Label values that metadata.json defines for the output; empty where it defines none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A verified bundle and the descriptor under which it is deployed."""

    name: str
    descriptor: Descriptor
    bundle: Bundle

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
    for path in sorted(_digested(folder), key=lambda path: path.relative_to(folder).as_posix()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return f"sha256:{total.hexdigest()}"


def load_model(models_dir: Path, name: str) -> Model:
    """Read the descriptor NAME.yaml and the bundle folder NAME, and verify one by the other.

    Raises NotFound when there is no such descriptor, and ConfigurationInvalid with every problem
    of the descriptor, the bundle and their agreement.
    """
    path = models_dir / f"{name}.yaml"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise NotFound(f"there is no model {name!r}: {models_dir} has no descriptor of that name")
    descriptor = load_descriptor(path)
    document = load_yaml(path)[0]
    bundle = read_bundle(models_dir / name, named_in=path)
    found = list(_disagreements(path, document, descriptor, bundle))
    if found:
        raise ConfigurationInvalid(found)
    return Model(name=name, descriptor=descriptor, bundle=bundle)


def list_models(models_dir: Path) -> tuple[Model, ...]:
    """Load every model of a folder, in the order of names.

    Raises ConfigurationInvalid with the problems of all of them together.
    """
    models: list[Model] = []
    found: list[Problem] = []
    for path in sorted(models_dir.glob("*.yaml")):
        try:
            models.append(load_model(models_dir, path.stem))
        except ConfigurationInvalid as error:
            found.extend(error.problems)
    if found:
        raise ConfigurationInvalid(found)
    return tuple(models)


def read_bundle(root: Path, *, named_in: Path) -> Bundle:
    """Find a bundle's files; ``named_in`` is the descriptor that problems are reported at.

    Raises ConfigurationInvalid when the folder, its metadata or its inference configuration is
    missing or unreadable.
    """
    if not root.is_dir():
        raise _invalid(named_in, f"the bundle's folder {root} is missing")
    configs = [root / "configs" / name for name in _CONFIG_NAMES]
    config_file = next((path for path in configs if path.is_file()), None)
    if config_file is None:
        raise _invalid(named_in, f"{root / 'configs'} holds none of {', '.join(_CONFIG_NAMES)}")
    metadata_file = root / "configs" / "metadata.json"
    metadata = _metadata(metadata_file)
    return Bundle(
        root=root,
        config_file=config_file,
        metadata_file=metadata_file,
        version=str(metadata["version"]),
        labels=_labels(metadata),
    )


def _digested(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if parts[0] == "docs" or any(p.startswith(".") or p == "__pycache__" for p in parts):
            continue
        if path.is_file() and path.suffix != ".pyc":
            yield path


def _metadata(path: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid(path, f"the bundle's metadata cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        problem = Problem(path, error.lineno, error.colno, f"this is not JSON: {error.msg}")
        raise ConfigurationInvalid([problem]) from error
    if not isinstance(metadata, dict) or not _VERSION.fullmatch(str(metadata.get("version", ""))):
        raise _invalid(path, "the bundle's metadata has no version of at most 20 characters")
    return metadata


def _labels(metadata: dict[str, Any]) -> frozenset[int]:
    """Read the channels that the first output defines; other shapes than a map define none."""
    outputs = metadata.get("network_data_format", {}).get("outputs", {})
    definitions = [output.get("channel_def") for output in outputs.values()]
    if not definitions or not isinstance(definitions[0], dict):
        return frozenset()
    return frozenset(int(channel) for channel in definitions[0] if str(channel).isdigit())


def _disagreements(
    path: Path, document: PositionedDocument, descriptor: Descriptor, bundle: Bundle
) -> Iterator[Problem]:
    digest = bundle_digest(bundle.root)
    if digest != descriptor.bundle_digest:
        message = (
            f"the bundle's files give {digest}; if they are the ones that you verified, "
            "write that digest here"
        )
        yield document.problem(path, ("bundle_digest",), message)
    for index, segment in enumerate(descriptor.segments):
        if bundle.labels and segment.label_id not in bundle.labels:
            message = f"the bundle's metadata defines no output channel {segment.label_id}"
            yield document.problem(path, ("segments", index, "labelID"), message)


def _invalid(path: Path, message: str) -> ConfigurationInvalid:
    return ConfigurationInvalid([Problem(path, 0, 0, message)])
