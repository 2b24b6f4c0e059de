"""Bundles on disk: found, verified by digest, and checked against their descriptors."""

import json
from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid, NotFound
from gateway.inference import Model, bundle_digest, list_models, load_model
from tests.unit.inference.bundles import REPOSITORY, descriptor, threshold_bundle


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return threshold_bundle(tmp_path)


def test_a_model_is_a_bundle_with_its_descriptor(tmp_path: Path, model: Model) -> None:
    assert model.name == "thresholds"
    assert model.version == "1.2.3"
    assert model.bundle.config_file == tmp_path / "thresholds" / "configs" / "inference.json"


def test_the_shipped_models_match_their_descriptors() -> None:
    assert [model.name for model in list_models(REPOSITORY / "models")] == ["ct_tissue"]


@pytest.mark.parametrize("name", ["models/model.pt", "scripts/thresholds.py", "scripts/more.py"])
def test_a_changed_or_added_file_is_found_by_the_digest(
    tmp_path: Path, model: Model, name: str
) -> None:
    with (model.bundle.root / name).open("a") as file:
        file.write("# changed")
    with pytest.raises(ConfigurationInvalid) as caught:
        load_model(tmp_path, "thresholds")
    [problem] = caught.value.problems
    assert (problem.path, problem.line) == (tmp_path / "thresholds.yaml", 1)
    assert bundle_digest(model.bundle.root) in problem.message


@pytest.mark.parametrize("name", ["docs/README.md", "scripts/__pycache__/a.pyc", ".cache/lock"])
def test_documentation_and_caches_are_no_part_of_the_digest(model: Model, name: str) -> None:
    before = bundle_digest(model.bundle.root)
    path = model.bundle.root / name
    path.parent.mkdir(parents=True)
    path.write_text("later")
    assert bundle_digest(model.bundle.root) == before


def test_a_renamed_file_changes_the_digest(model: Model) -> None:
    before = bundle_digest(model.bundle.root)
    weights = model.bundle.root / "models" / "model.pt"
    weights.rename(weights.with_name("other.pt"))
    assert bundle_digest(model.bundle.root) != before


def test_a_label_that_the_bundle_does_not_put_out_is_found(tmp_path: Path, model: Model) -> None:
    metadata = {
        "version": "1.2.3",
        "network_data_format": {
            "outputs": {"pred": {"channel_def": {"0": "background", "1": "a"}}}
        },
    }
    model.bundle.metadata_file.write_text(json.dumps(metadata))
    content = descriptor(bundle_digest(model.bundle.root))
    (tmp_path / "thresholds.yaml").write_text(json.dumps(content, indent=1))
    with pytest.raises(ConfigurationInvalid, match="no output channel 2") as caught:
        load_model(tmp_path, "thresholds")
    assert caught.value.problems[0].line > 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("configs/inference.json", r"holds none of inference\.json"),
        ("configs/metadata.json", "metadata cannot be read"),
    ],
)
def test_a_missing_file_is_found(tmp_path: Path, model: Model, name: str, message: str) -> None:
    (model.bundle.root / name).unlink()
    with pytest.raises(ConfigurationInvalid, match=message):
        load_model(tmp_path, "thresholds")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"version": ""}'])
def test_metadata_without_a_version_is_found(tmp_path: Path, model: Model, text: str) -> None:
    model.bundle.metadata_file.write_text(text)
    with pytest.raises(ConfigurationInvalid):
        load_model(tmp_path, "thresholds")


def test_a_descriptor_without_its_bundle_is_found(tmp_path: Path, model: Model) -> None:
    (tmp_path / "other.yaml").write_text((tmp_path / "thresholds.yaml").read_text())
    with pytest.raises(ConfigurationInvalid, match="other is missing"):
        load_model(tmp_path, "other")
    with pytest.raises(ConfigurationInvalid):
        list_models(tmp_path)


@pytest.mark.parametrize("name", ["absent", "../thresholds", "", ".hidden", "a/b"])
def test_a_model_of_an_unknown_or_strange_name_is_not_found(
    tmp_path: Path, model: Model, name: str
) -> None:
    with pytest.raises(NotFound):
        load_model(tmp_path, name)


def test_the_identity_follows_the_bundle_and_the_descriptor(tmp_path: Path, model: Model) -> None:
    assert load_model(tmp_path, "thresholds").identity == model.identity
    content = descriptor(bundle_digest(model.bundle.root)) | {"series_description": "Other"}
    (tmp_path / "thresholds.yaml").write_text(json.dumps(content))
    assert load_model(tmp_path, "thresholds").identity != model.identity
