"""A first deployment descriptor for a bundle, from what its metadata says.

A draft is to be read and completed by a person. Where the metadata does not say enough, it holds
an empty value, so that it is not valid before somebody has looked.
"""

import colorsys
import re
from collections.abc import Iterator
from pathlib import Path

from pydicom.sr.coding import Code

from gateway.errors import NotFound, Problem
from gateway.inference.agreement import keys_read, read_config
from gateway.inference.bundle import Bundle, bundle_digest, read_bundle
from gateway.inference.series_input import MOST_INPUTS
from gateway.inference.snomed import CodedName, coded

_TIME_LIMIT_SECONDS = 900
_GOLDEN_RATIO = 0.618034
_INPUT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}")
_NOT_ASCII = re.compile(r"[^ -\[\]-~]")


def draft_descriptor(models_dir: Path, name: str) -> str:
    """Return the text of a descriptor for the bundle in the folder ``name``.

    What stands in models_dir/NAME.yaml is not looked at: the draft may be on its way there.
    Raises NotFound when there is no such folder, and ConfigurationInvalid when it is no bundle.
    """
    root = models_dir / name
    if not root.is_dir():
        raise NotFound(f"there is no bundle folder {root}; `gateway models install` makes one")
    bundle = read_bundle(root, named_in=models_dir / f"{name}.yaml")
    return "\n".join([*_head(name, bundle), *_segments(bundle), ""])


def _head(name: str, bundle: Bundle) -> Iterator[str]:
    said = bundle.metadata
    title = _ascii(said.title) or name
    yield f"# Deployment descriptor of the bundle models/{name}, drafted from its metadata."
    if said.task:
        yield f"# Task: {_ascii(said.task)}"
    yield "# Check every line, then run: gateway models verify " + name
    yield f"bundle_digest: {bundle_digest(bundle.root)}"
    yield f"input_key: {said.input_key or 'image'}"
    yield f"output_key: {said.output_key or 'pred'}"
    if said.modality:
        yield f"modality: [{said.modality}]"
    else:
        yield "modality: [] # the metadata names none that is known; write CT, MR or PT"
    yield from _inputs(bundle)
    yield "minimum_slices: 3"
    yield f"series_description: {_quoted(f'{title[:59]} (AI)')}"
    yield f"content_label: {_content_label(name)}"
    yield "outputs: [seg]"
    yield "gpu_memory: small # medium: up to 24 GB, large: up to 80 GB"
    yield f"time_limit_seconds: {_TIME_LIMIT_SECONDS}"
    yield ""


def _inputs(bundle: Bundle) -> Iterator[str]:
    """Draft the inputs of a bundle that takes several series; which these are, a person says."""
    inputs = list(_named_inputs(bundle))
    if len(inputs) < 2:
        return
    yield "# The series of a study that the model takes. Write into each `when` which one it is,"
    yield '# in the words of routing rules, such as {SeriesDescription: {matches: "(?i)t1.*gd"}}.'
    yield "# The first one is what rules send to the model, and results lie on its grid."
    yield "inputs:"
    for name, key in inputs[:MOST_INPUTS]:
        yield f"  - name: {name}"
        yield f"    key: {key}"
        yield "    when:"
    yield "inputs_within_seconds: 900"
    yield "grid: same # resample: bring the others to the first one's grid"


def _named_inputs(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Yield (name, key) of what its configuration reads, or else of what its metadata names."""
    said, config = bundle.metadata, read_config(bundle.config_file)
    read = [] if isinstance(config, Problem) else list(dict.fromkeys(keys_read(config)))
    is_known = all(_INPUT_NAME.fullmatch(key) for key in read)
    keys = read if is_known and len(read) > 1 else said.image_keys
    if len(keys) > 1:
        yield from ((key, key) for key in keys)
        return
    for number, name in enumerate(said.channel_names, start=1):
        tidy = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_.+-")[:32].lower()
        yield tidy or f"input{number}", said.input_key or "image"


def _segments(bundle: Bundle) -> Iterator[str]:
    names = bundle.metadata.label_names
    yield "# Label value -> segment, in the shape of dcmqi's segment attributes."
    if names and not bundle.metadata.labels:
        yield "# The metadata defines channels; what the postprocessing makes of them may differ:"
        yield "# `gateway models verify` says which labels come out."
    yield "segments:"
    if not names:
        yield "  # The metadata names no labels: write each label that the bundle gives."
    # Where 0 is no background, values are channels, and labels most often one more.
    shift = 0 if bundle.metadata.labels else 1
    shown = {value + shift: name for value, name in names.items() if value + shift > 0}
    for number, (value, name) in enumerate(sorted((shown or {1: ""}).items())):
        yield from _segment(number, value, name)


def _segment(number: int, value: int, name: str) -> Iterator[str]:
    label = _ascii(name.replace("_", " ")).strip()[:64]
    codes = coded(name)
    yield f"  - labelID: {value}"
    yield f"    SegmentLabel: {_quoted(label[:1].upper() + label[1:])}"
    yield "    SegmentAlgorithmType: AUTOMATIC"
    if codes is None:
        yield from _unknown(label)
    else:
        yield from _known(codes)
    yield f"    recommendedDisplayRGBValue: [{', '.join(str(one) for one in _colour(number))}]"


def _known(found: CodedName) -> Iterator[str]:
    yield from _code("SegmentedPropertyCategoryCodeSequence", found.category)
    yield from _code("SegmentedPropertyTypeCodeSequence", found.property_type)
    if found.modifier is not None:
        yield from _code("SegmentedPropertyTypeModifierCodeSequence", found.modifier)


def _unknown(label: str) -> Iterator[str]:
    empty = Code("", "SCT", "")
    yield from _code(
        "SegmentedPropertyCategoryCodeSequence", Code("123037004", "SCT", "Anatomical Structure")
    )
    yield f"    # No code is known by the name {label!r}; look one up, and write it here:"
    yield from _code("SegmentedPropertyTypeCodeSequence", empty)


def _code(keyword: str, code: Code) -> Iterator[str]:
    yield f"    {keyword}:"
    yield f'      CodeValue: "{code.value}"'
    yield f"      CodingSchemeDesignator: {code.scheme_designator}"
    yield f"      CodeMeaning: {_quoted(code.meaning[:64])}"


def _colour(number: int) -> tuple[int, int, int]:
    """Return colours that differ from their neighbours, the same for the same number."""
    hue = (number * _GOLDEN_RATIO) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.55, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def _content_label(name: str) -> str:
    return re.sub(r"[^A-Z0-9_ ]", "_", name.upper())[:16]


def _ascii(text: str) -> str:
    return _NOT_ASCII.sub(" ", text).strip()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'
