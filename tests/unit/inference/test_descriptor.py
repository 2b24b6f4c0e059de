"""Deployment descriptors, and the words for what is wrong in one."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.inference import Descriptor, Output, load_descriptor
from gateway.settings import OutputName
from tests.unit.inference.bundles import REPOSITORY, descriptor

DIGEST = "sha256:" + "0" * 64

BROKEN = """\
bundle_digest: sha256:123
modality: [CT]
series_description: Tissue
time_limit_seconds: 60
outputs: [seg, surface]
colour: red
segments:
  - labelID: 1
    SegmentLabel: Bone
    SegmentedPropertyCategoryCodeSequence:
      CodeValue: "85756007"
      CodingSchemeDesignator: SCT
      CodeMeaning: Tissue
    SegmentedPropertyTypeCodeSequence:
      CodeValue: T-D016E
      CodingSchemeDesignator: SRT
      CodeMeaning: Bone
    recommendedDisplayRGBValue: [241, 214, 300]
"""


def load(tmp_path: Path, content: dict[str, Any]) -> Descriptor:
    path = tmp_path / "model.yaml"
    path.write_text(json.dumps(content))
    return load_descriptor(path)


def test_a_descriptor_in_dcmqis_words_is_read(tmp_path: Path) -> None:
    read = load(tmp_path, descriptor(DIGEST))
    assert [segment.label_id for segment in read.segments] == [2, 1]
    assert [segment.label for segment in read.segments_by_label] == ["Soft tissue", "Left kidney"]
    [kidney, _] = read.segments
    assert kidney.property_type_modifier is not None
    assert kidney.property_type_modifier.code_meaning == "Left"
    assert read.outputs == ("seg",)


def test_every_problem_comes_with_its_file_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(BROKEN)
    with pytest.raises(ConfigurationInvalid) as caught:
        load_descriptor(path)
    found = {(p.line, p.column): p.message for p in caught.value.problems}
    assert [line for line, _ in found] == [1, 5, 6, 16, 18]
    assert all(problem.path == path for problem in caught.value.problems)
    assert "SNOMED CT" in found[16, 7]
    assert found[5, 16]  # the output that there is not, and not the line's start


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"segments": []}, "segments"),
        ({"modality": []}, "modality"),
        ({"series_description": "x" * 65}, "series_description"),
        ({"series_description": "Gew\u00e4ssert"}, "series_description"),
        ({"content_label": "lower case"}, "content_label"),
        ({"time_limit_seconds": 0}, "time_limit_seconds"),
        ({"minimum_slices": 1}, "minimum_slices"),
        ({"outputs": []}, "outputs"),
        ({"outputs": ["seg", "fractional"]}, "outputs"),
        ({"nothing_found": "silence"}, "nothing_found"),
        ({"capture_images": 0}, "capture_images"),
    ],
)
def test_values_that_no_result_could_carry_are_refused(
    tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        load(tmp_path, descriptor(DIGEST) | change)
    assert word in (tmp_path / "model.yaml").read_text()
    assert len(caught.value.problems) == 1


def test_one_label_for_two_segments_is_refused(tmp_path: Path) -> None:
    content: Any = descriptor(DIGEST)
    content["segments"][0]["labelID"] = 1
    with pytest.raises(ConfigurationInvalid, match="labelID 1 is given to more than one segment"):
        load(tmp_path, content)


def test_keys_that_came_later_do_not_change_the_names_of_results(tmp_path: Path) -> None:
    """A model's results are named after its descriptor: an upgrade must not rename them."""
    plain = load(tmp_path, descriptor(DIGEST)).model_dump_json(by_alias=True)
    stated = {"nothing_found": "outputs", "capture_images": 30, "prediction": "labels"}
    stated |= {"inputs": [], "inputs_within_seconds": 900, "grid": "same"}
    assert load(tmp_path, descriptor(DIGEST) | stated).model_dump_json(by_alias=True) == plain
    assert not any(word in plain for word in (*stated, "split_by"))
    other = load(tmp_path, descriptor(DIGEST) | {"nothing_found": "report"})
    assert '"nothing_found":"report"' in other.model_dump_json(by_alias=True)


def test_every_output_can_be_asked_for_by_a_node(tmp_path: Path) -> None:
    assert set(get_args(OutputName)) == {output.value for output in Output}


def test_a_file_with_two_documents_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("modality: [CT]\n---\nmodality: [MR]\n")
    with pytest.raises(ConfigurationInvalid, match="one document"):
        load_descriptor(path)


def test_the_shipped_descriptor_says_that_it_is_a_demonstration() -> None:
    shipped = load_descriptor(REPOSITORY / "models" / "ct_tissue.yaml")
    assert "demonstration, not for clinical use" in shipped.series_description
    assert all(
        segment.property_type.coding_scheme_designator == "SCT" for segment in shipped.segments
    )
