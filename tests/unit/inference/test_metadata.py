"""metadata.json in the spellings that bundles use."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.inference.metadata import Metadata, read_metadata

NAMES = {0: "background", 1: "spleen"}


def read(tmp_path: Path, **content: Any) -> Metadata:
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps({"version": "1.0", **content}))
    return read_metadata(path)


def with_output(tmp_path: Path, **output: Any) -> Metadata:
    return read(tmp_path, network_data_format={"outputs": {"pred": output}})


@pytest.mark.parametrize("key", ["channel_def", "label_def"])
@pytest.mark.parametrize(
    "definition",
    [
        {"0": "background", "1": "spleen"},
        ["background", "spleen"],
        {"background": 0, "spleen": 1},
    ],
)
def test_label_names_are_read_in_every_spelling(tmp_path: Path, key: str, definition: Any) -> None:
    found = with_output(tmp_path, **{key: definition})
    assert found.label_names == NAMES
    assert found.labels == {0, 1}


def test_what_is_said_of_the_postprocessed_output_counts_more(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        network_data_format={"outputs": {"pred": {"channel_def": {"0": "background"}}}},
        post_processed_outputs={"pred": {"channel_def": {"0": "background", "4": "edema"}}},
    )
    assert found.labels == {0, 4}


def test_channels_without_background_say_nothing_about_labels(tmp_path: Path) -> None:
    found = with_output(tmp_path, channel_def={"0": "tumor core", "1": "whole tumor"})
    assert found.labels == frozenset()
    assert found.label_names == {0: "tumor core", 1: "whole tumor"}


@pytest.mark.parametrize("definition", [None, 7, "labels", {"a": "b"}, []])
def test_other_definitions_are_none(tmp_path: Path, definition: Any) -> None:
    assert with_output(tmp_path, channel_def=definition).label_names == {}


@pytest.mark.parametrize(
    ("image", "modality"),
    [
        ({"modality": "CT"}, "CT"),
        ({"modality": "MR"}, "MR"),
        ({"modality": "MRI", "format": "hounsfield"}, "MR"),
        ({"format": "hounsfield"}, "CT"),
        ({"modality": "T1-weighted magnetic resonance"}, "MR"),
        ({"modality": "n/a"}, None),
        ({}, None),
    ],
)
def test_the_modality_is_read_in_the_words_of_bundles(
    tmp_path: Path, image: dict[str, str], modality: str | None
) -> None:
    form = {"inputs": {"prompt": {"type": "tuple"}, "scan": {"type": "image", **image}}}
    found = read(tmp_path, network_data_format=form)
    assert (found.modality, found.input_key) == (modality, "scan")


def test_metadata_without_a_data_format_is_metadata(tmp_path: Path) -> None:
    found = read(tmp_path, network_data_format=None)
    assert (found.modality, found.input_key, found.output_key) == (None, None, None)
