"""Descriptors drafted from metadata."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigurationInvalid, NotFound
from gateway.inference import load_descriptor, load_model
from gateway.inference.drafting import draft_descriptor
from tests.unit.inference.zoo import FORMS, zoo_bundle


def change_metadata(folder: Path, **changes: Any) -> None:
    path = folder / "configs" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_draft_of_known_structures_is_a_valid_descriptor(tmp_path: Path) -> None:
    zoo_bundle(tmp_path, "usual", FORMS["usual"])
    (tmp_path / "usual.yaml").write_text("")  # a shell has emptied it before the draft is made
    (tmp_path / "usual.yaml").write_text(draft_descriptor(tmp_path, "usual"))
    model = load_model(tmp_path, "usual")
    spleen, kidney = model.descriptor.segments
    assert (spleen.label_id, spleen.label) == (1, "Spleen")
    assert spleen.property_type.code_value == "78961009"
    assert kidney.label == "Left kidney"
    assert kidney.property_type_modifier is not None
    assert kidney.property_type_modifier.code_meaning == "Left"
    assert spleen.colour_rgb != kidney.colour_rgb
    assert model.descriptor.modality == ("CT",)
    assert model.descriptor.series_description == "Small (AI)"


def test_a_label_without_a_code_is_found_before_the_model_runs(tmp_path: Path) -> None:
    model = zoo_bundle(tmp_path, "usual", FORMS["usual"])
    form = {"outputs": {"pred": {"channel_def": {"0": "background", "1": "Left Kideny\\"}}}}
    change_metadata(model.bundle.root, network_data_format=form, name='A "small" näme')
    path = tmp_path / "usual.yaml"
    path.write_text(draft_descriptor(tmp_path, "usual"))
    with pytest.raises(ConfigurationInvalid) as caught:
        load_descriptor(path)
    lines = [path.read_text().splitlines()[one.line - 1] for one in caught.value.problems]
    assert any("CodeValue" in line for line in lines)
    assert any(line.startswith("modality: []") for line in lines)
    assert len(lines) == 3


def test_a_bundle_that_names_no_labels_gets_one_to_fill_in(tmp_path: Path) -> None:
    model = zoo_bundle(tmp_path, "usual", FORMS["usual"])
    change_metadata(model.bundle.root, network_data_format={})
    draft = draft_descriptor(tmp_path, "usual")
    assert "labelID: 1" in draft
    assert 'SegmentLabel: ""' in draft


def test_channels_without_background_are_said_to_be_uncertain(tmp_path: Path) -> None:
    model = zoo_bundle(tmp_path, "usual", FORMS["usual"])
    form = {"outputs": {"pred": {"channel_def": {"0": "spleen", "1": "liver"}}}}
    change_metadata(model.bundle.root, network_data_format=form)
    draft = draft_descriptor(tmp_path, "usual")
    assert "what the postprocessing makes of them may differ" in draft
    assert draft.index("labelID: 1") < draft.index("Spleen") < draft.index("labelID: 2")


def test_there_is_no_draft_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no bundle folder"):
        draft_descriptor(tmp_path, "absent")


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("channels", [("t1c", "image"), ("t1", "image"), ("t2", "image"), ("flair", "image")]),
        ("keys", [("artery", "artery"), ("vein", "vein"), ("excret", "excret")]),
    ],
)
def test_several_inputs_are_drafted_and_flagged_until_they_say_which_series_they_are(
    tmp_path: Path, name: str, inputs: list[tuple[str, str]]
) -> None:
    zoo_bundle(tmp_path, name, FORMS[name])
    path = tmp_path / f"{name}.yaml"
    path.write_text(draft_descriptor(tmp_path, name))
    with pytest.raises(ConfigurationInvalid) as caught:
        load_descriptor(path)
    lines = path.read_text().splitlines()
    assert [lines[one.line - 1].strip() for one in caught.value.problems] == ["when:"] * len(inputs)
    path.write_text(path.read_text().replace("when:", "when: {Modality: CT}"))
    found = load_model(tmp_path, name).descriptor.inputs
    assert [(one.name, one.key) for one in found] == inputs
