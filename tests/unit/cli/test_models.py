"""Models by command: installed, described, verified, and refused in one clear line."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.inference.zoo import FORMS, zoo_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    """A bundle that a researcher has."""
    return str(zoo_bundle(tmp_path / "from", "small", FORMS["usual"]).bundle.root)


@pytest.fixture
def models(node: Path) -> Path:
    """The node's models folder."""
    return node.parent / "models"


def test_a_bundle_is_installed_described_and_verified(run: Run, models: Path, bundle: str) -> None:
    installed = run("models", "install", bundle)
    assert installed.status == 0
    assert installed.out.splitlines()[-1] == (
        f"next: gateway models describe small > {models / 'small.yaml'}"
    )
    (models / "small.yaml").write_text(run("models", "describe", "small").out)
    verified = run("models", "verify", "small")
    assert verified.status == 0, verified.err
    assert verified.out.startswith("small 0.1.0: descriptor and bundle agree, and the bundle runs")
    assert "Left kidney" in verified.out


def test_a_bundle_without_a_descriptor_is_no_model_yet(run: Run, models: Path, bundle: str) -> None:
    assert run("models", "install", bundle, "--name", "other").status == 0
    assert run("check").status == 0
    assert "has no descriptor of that name" in run("models", "verify", "other").err


def test_what_was_installed_is_told_for_scripts(run: Run, models: Path, bundle: str) -> None:
    said = json.loads(run("models", "install", bundle, "--json").out)
    assert (said["name"], said["version"], said["source"]) == ("small", "0.1.0", bundle)
    assert said["bundle_digest"].startswith("sha256:")


def test_a_source_that_is_no_bundle_is_one_line(run: Run, models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = run("models", "install", str(tmp_path / "empty"))
    assert said.status == 1
    assert said.err == "this is no MONAI bundle: it holds no configs/metadata.json\n"


def test_a_draft_with_a_label_without_a_code_does_not_pass_the_check(
    run: Run, models: Path
) -> None:
    draft = run("models", "describe", "ct_tissue").out
    (models / "ct_tissue.yaml").write_text(draft)
    said = run("check")
    assert said.status == 1
    assert "models/ct_tissue.yaml:" in said.err
    assert "CodeValue" in said.err


def test_describe_names_what_is_missing(run: Run, models: Path) -> None:
    said = run("models", "describe", "absent")
    assert said.status == 1
    assert said.err.startswith("there is no bundle folder ")
