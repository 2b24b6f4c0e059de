"""A descriptor beside a bundle that it does not fit, told before the first series."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigurationInvalid, Problem
from gateway.inference import bundle_digest, load_model
from tests.unit.inference.zoo import FORMS, zoo_bundle


def problems(tmp_path: Path, name: str = "usual", **changes: Any) -> tuple[Problem, ...]:
    """Change a sound model's descriptor and load it."""
    path = tmp_path / f"{name}.yaml"
    if not path.exists():
        zoo_bundle(tmp_path, name, FORMS[name])
    content = json.loads(path.read_text())
    content |= {"bundle_digest": bundle_digest(tmp_path / name)} | changes
    path.write_text(json.dumps(content, indent=1))
    with pytest.raises(ConfigurationInvalid) as caught:
        load_model(tmp_path, name)
    return caught.value.problems


@pytest.mark.parametrize("name", ["usual", "yaml"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_key": "img"}, "the bundle reads image and nothing of the key 'img'"),
        ({"output_key": "seg"}, "the bundle's postprocessing has the keys pred and not 'seg'"),
        ({"host": {"run_key": "go"}}, "the bundle's configuration has no key 'go'"),
    ],
)
def test_keys_that_the_configuration_does_not_have_are_found(
    tmp_path: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    [problem] = problems(tmp_path, name, **changes)
    assert problem.message == message
    assert problem.line > 1


def test_a_label_that_no_segment_names_is_found(tmp_path: Path) -> None:
    zoo_bundle(tmp_path, "usual", FORMS["usual"])
    content = json.loads((tmp_path / "usual.yaml").read_text())
    [problem] = problems(tmp_path, segments=content["segments"][:1])
    assert "gives label 2 (left kidney), and no segment here says what it is" in problem.message


@pytest.mark.parametrize(("name", "text"), [("usual", "{"), ("yaml", "a: [")])
def test_a_configuration_that_cannot_be_read_is_found_where_it_breaks(
    tmp_path: Path, name: str, text: str
) -> None:
    model = zoo_bundle(tmp_path, name, FORMS[name])
    model.bundle.config_file.write_text(text)
    [problem] = problems(tmp_path, name)
    assert (problem.path, problem.line) == (model.bundle.config_file, 1)


def test_a_configuration_of_another_name_is_taken_where_it_is_the_only_one(tmp_path: Path) -> None:
    model = zoo_bundle(tmp_path, "usual", FORMS["usual"])
    other = model.bundle.config_file.with_name("inference_unet.json")
    model.bundle.config_file.rename(other)
    content = json.loads((tmp_path / "usual.yaml").read_text())
    content["bundle_digest"] = bundle_digest(model.bundle.root)
    (tmp_path / "usual.yaml").write_text(json.dumps(content))
    assert load_model(tmp_path, "usual").bundle.config_file == other


def test_a_key_that_no_input_gives_is_found_and_one_that_nothing_reads(tmp_path: Path) -> None:
    zoo_bundle(tmp_path, "keys", FORMS["keys"])
    inputs = json.loads((tmp_path / "keys.yaml").read_text())["inputs"]
    [problem] = problems(tmp_path, "keys", inputs=inputs[:2])
    assert problem.message == "the bundle reads 'excret', too, and no input here has that key"
    inputs[2]["key"] = "late"
    [problem] = problems(tmp_path, "keys", inputs=inputs)
    assert "nothing of the key 'late'" in problem.message
    found = problems(tmp_path, "keys", inputs=[], input_key="artery")
    assert ["reads 'vein', too" in one.message for one in found] == [True, False]
