"""Whether a descriptor fits the bundle beside it, found without running the bundle."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gateway.errors import Problem
from gateway.inference.descriptor import Descriptor, Prediction
from gateway.inference.metadata import Metadata
from gateway.positions import PositionedDocument

_LOADERS = ("LoadImaged", "LoadImageD", "LoadImageDict")


def disagreements(
    path: Path,
    document: PositionedDocument,
    descriptor: Descriptor,
    *,
    digest: str,
    metadata: Metadata,
    config_file: Path,
) -> Iterator[Problem]:
    """Yield what is wrong between a descriptor at ``path`` and its bundle.

    ``digest`` is that of the bundle's files as they are now. Problems of the bundle's own
    configuration have their positions in that file.
    """
    if digest != descriptor.bundle_digest:
        message = (
            f"the bundle's files give {digest}; if they are the ones that you verified, "
            "write that digest here"
        )
        yield document.problem(path, ("bundle_digest",), message)
    if descriptor.prediction is Prediction.LABELS:
        yield from _labels(path, document, descriptor, metadata)
    config = read_config(config_file)
    if isinstance(config, Problem):
        yield config
    else:
        yield from _keys(path, document, descriptor, config)


def _labels(
    path: Path, document: PositionedDocument, descriptor: Descriptor, metadata: Metadata
) -> Iterator[Problem]:
    if not metadata.labels:
        return
    for index, segment in enumerate(descriptor.segments):
        if segment.label_id not in metadata.labels:
            message = f"the bundle's metadata defines no output channel {segment.label_id}"
            yield document.problem(path, ("segments", index, "labelID"), message)
    named = {segment.label_id for segment in descriptor.segments}
    for label in sorted(metadata.labels - named - {0}):
        message = (
            f"the bundle gives label {label} ({metadata.label_names[label]}), and no segment "
            "here says what it is; a series that shows it would fail"
        )
        yield document.problem(path, ("segments",), message)


def _keys(
    path: Path, document: PositionedDocument, descriptor: Descriptor, config: dict[str, Any]
) -> Iterator[Problem]:
    yield from _inputs(path, document, descriptor, config)
    written = list(_transform_keys(config.get("postprocessing"), None))
    if written and descriptor.output_key not in written and not any(map(_is_indirect, written)):
        known = ", ".join(dict.fromkeys(written))
        message = (
            f"the bundle's postprocessing has the keys {known} and not {descriptor.output_key!r}"
        )
        yield document.problem(path, ("output_key",), message)
    run_key = descriptor.host.run_key
    if run_key is not None and run_key not in config:
        message = f"the bundle's configuration has no key {run_key!r}"
        yield document.problem(path, ("host", "run_key"), message)


def _inputs(
    path: Path, document: PositionedDocument, descriptor: Descriptor, config: dict[str, Any]
) -> Iterator[Problem]:
    """Yield the keys that are given and not read, and those that are read and not given."""
    read = list(_transform_keys(config, _LOADERS))
    if not read or any(map(_is_indirect, read)):
        return
    known = ", ".join(dict.fromkeys(read))
    keys = descriptor.input_keys
    for number, key in enumerate(keys):
        if key not in read:
            place = ("inputs", number, "key") if descriptor.inputs else ("input_key",)
            message = f"the bundle reads {known} and nothing of the key {key!r}"
            yield document.problem(path, place, message)
    if not set(keys) <= set(read):
        return
    for key in dict.fromkeys(keys_read(config)):
        if key not in {*keys, *descriptor.host.extra_inputs}:
            place = ("inputs",) if descriptor.inputs else ("input_key",)
            message = f"the bundle reads {key!r}, too, and no input here has that key"
            yield document.problem(path, place, message)


def keys_read(config: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of the images that a configuration's preprocessing cannot do without."""
    yield from _transform_keys(config.get("preprocessing"), _LOADERS, needed=True)


def read_config(path: Path) -> dict[str, Any] | Problem:
    """Read a configuration as plain values; nothing in it is evaluated."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else YAML(typ="safe").load(text)
    except json.JSONDecodeError as error:
        return Problem(path, error.lineno, error.colno, f"this is not JSON: {error.msg}")
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        return Problem(path, line, column, f"this is not YAML: {error.problem}")
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        return Problem(path, 0, 0, f"the configuration cannot be read: {type(error).__name__}")
    if not isinstance(content, dict):
        return Problem(path, 1, 1, "the bundle's configuration is no map of keys")
    return content


def _transform_keys(
    value: Any, targets: tuple[str, ...] | None, *, needed: bool = False
) -> Iterator[str]:
    """Yield the keys that transforms within a configuration work on; those ``needed``, if asked."""
    if isinstance(value, dict):
        target = str(value.get("_target_", "")).rpartition(".")[2]
        is_one = targets is None or target in targets
        if "keys" in value and is_one and not (needed and value.get("allow_missing_keys")):
            keys = value["keys"]
            yield from (str(key) for key in (keys if isinstance(keys, list) else [keys]))
        for one in value.values():
            yield from _transform_keys(one, targets, needed=needed)
    elif isinstance(value, list):
        for one in value:
            yield from _transform_keys(one, targets, needed=needed)


def _is_indirect(key: str) -> bool:
    """Tell a reference or an expression, which only the bundle's process resolves."""
    return key.startswith(("@", "$", "%"))
