"""What a bundle says of itself in configs/metadata.json, in the spellings that are in use."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import ConfigurationInvalid, Problem

_VERSION = re.compile(r"[ -\[\]-~]{1,20}")
_DEFINITIONS = ("channel_def", "label_def", "channel_defs", "label_defs", "labels")
_BACKGROUND = ("background", "back ground", "bg", "unlabeled", "none", "other")
_MODALITIES = (
    ("CT", ("ct", "computed tomography", "hounsfield", "cta", "cect")),
    ("MR", ("mr", "mri", "magnetic", "magnitude", "t1", "t2", "flair")),
    ("PT", ("pt", "pet", "suv")),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """The parts of metadata.json that the gateway goes by, and no more than it says."""

    version: str
    title: str
    """A name for people; empty where there is none."""
    task: str
    modality: str | None
    """Modality in DICOM's terms, where the first input names one."""
    input_key: str | None
    """Key of the first input that is an image."""
    image_keys: tuple[str, ...]
    """Keys of all inputs that are images."""
    channel_names: tuple[str, ...]
    """Names of the channels of the first input, where it has several."""
    output_key: str | None
    """Key of the first output."""
    monai_version: str
    """Version of MONAI that the bundle was made with; empty where it does not say."""
    label_names: Mapping[int, str]
    """Name of each value that the first output can hold; empty where none is defined."""

    @property
    def labels(self) -> frozenset[int]:
        """Label values of the result, where the definition can be taken for that.

        It can where 0 is the background; otherwise channels are defined, and which labels the
        postprocessing makes of them is not said.
        """
        if self.label_names.get(0, "").strip().lower() not in _BACKGROUND:
            return frozenset()
        return frozenset(self.label_names)


def read_metadata(path: Path) -> Metadata:
    """Read metadata.json.

    Raises ConfigurationInvalid when it cannot be read, is no JSON, or has no usable version.
    """
    content = _content(path)
    data_format = _mapping(content.get("network_data_format"))
    inputs, outputs = _mapping(data_format.get("inputs")), _mapping(data_format.get("outputs"))
    after = _mapping(content.get("post_processed_outputs"))
    images = [key for key, form in inputs.items() if _mapping(form).get("type") == "image"]
    first = _mapping(inputs.get(images[0]) if images else None)
    return Metadata(
        version=str(content["version"]),
        title=str(content.get("name") or ""),
        task=str(content.get("task") or ""),
        modality=_modality(first),
        input_key=images[0] if images else None,
        image_keys=tuple(images),
        channel_names=_channel_names(first),
        output_key=next(iter(outputs), None),
        monai_version=str(content.get("monai_version") or ""),
        label_names=_label_names(after) or _label_names(outputs),
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid(path, f"the bundle's metadata cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _invalid(path, "the bundle's metadata is no UTF-8 text") from error
    except json.JSONDecodeError as error:
        problem = Problem(path, error.lineno, error.colno, f"this is not JSON: {error.msg}")
        raise ConfigurationInvalid([problem]) from error
    if not isinstance(content, dict) or not _VERSION.fullmatch(str(content.get("version", ""))):
        raise _invalid(path, "the bundle's metadata has no version of at most 20 characters")
    return content


def _label_names(outputs: Mapping[str, Any]) -> dict[int, str]:
    """Read the definition of the first output that has one: a map or a list of names."""
    for output in outputs.values():
        for name in _DEFINITIONS:
            found = dict(_named(_mapping(output).get(name)))
            if found:
                return found
    return {}


def _channel_names(image: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a name for each channel of an image that has several: its own, or its number."""
    number = image.get("num_channels")
    if not isinstance(number, int) or number < 2:
        return ()
    names = _label_names({"image": image})
    return tuple(names.get(channel, str(channel + 1)) for channel in range(number))


def _named(definition: Any) -> Iterator[tuple[int, str]]:
    pairs = enumerate(definition) if isinstance(definition, list) else _mapping(definition).items()
    for value, name in pairs:
        if str(value).isdigit():
            yield int(value), str(name)
        elif str(name).isdigit():  # the other way round: a name and its value
            yield int(name), str(value)


def _modality(image: Mapping[str, Any]) -> str | None:
    said = f"{image.get('modality', '')} {image.get('format', '')}".lower()
    words = set(re.split(r"[^a-z0-9]+", said))
    named = str(image.get("modality", "")).lower()
    for modality, names in _MODALITIES:
        if named in names:
            return modality
    for modality, names in _MODALITIES:
        if words & set(names):
            return modality
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _invalid(path: Path, message: str) -> ConfigurationInvalid:
    return ConfigurationInvalid([Problem(path, 0, 0, message)])
