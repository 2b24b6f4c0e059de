"""``gateway init`` and ``gateway check``: from nothing to a valid node, and every mistake told."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli.serve import prepare
from gateway.errors import ConfigurationInvalid
from gateway.inference import bundle_digest
from gateway.settings import load_settings
from tests.peers.certificates import Authority
from tests.unit.cli.conftest import Run


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_init_writes_is_valid(run: Run, node: Path) -> None:
    said = run("check")
    assert said.status == 0, said.err
    assert "valid: 2 rules (1 enabled), 1 models" in said.out
    assert (node.parent / "routing_rules" / "README.md").is_file()


def test_init_writes_what_it_is_told(run: Run, tmp_path: Path) -> None:
    words = ("--pacs-ae", "ARCHIVE", "--pacs-host", "10.0.0.2", "--pacs-port", "11113")
    assert run("init", "site", *words, "--data-dir", "/srv/dicom").status == 0
    text = (tmp_path / "site" / "gateway.toml").read_text()
    for value in ('"ARCHIVE"', '"10.0.0.2"', "11113", '"/srv/dicom"'):
        assert value in text
    assert run("check", "--config", "site/gateway.toml").status == 0


@pytest.mark.parametrize("value", ['A"B', "A\\B", "back\\slash"])
def test_init_never_writes_a_file_that_check_cannot_read(run: Run, value: str) -> None:
    """Either the value is refused or it comes through."""
    if run("init", "--data-dir", value).status == 0:
        assert run("check").status == 0


def test_init_changes_nothing_that_is_there(run: Run, node: Path) -> None:
    edit(node, "GATEWAY", "MINE")
    rule = node.parent / "routing_rules" / "10-ct-tissue.yaml"
    rule.write_text("# mine\n")

    said = run("init")

    assert said.status == 1
    assert said.err.endswith("gateway.toml is there already; edit it, or name another folder\n")
    assert "MINE" in node.read_text()
    assert rule.read_text() == "# mine\n"


def test_init_keeps_rules_that_are_there_without_settings(run: Run, tmp_path: Path) -> None:
    (tmp_path / "routing_rules").mkdir()
    (tmp_path / "routing_rules" / "mine.yaml").write_text("# mine\n")
    assert run("init").status == 0
    assert [path.name for path in (tmp_path / "routing_rules").iterdir()] == ["mine.yaml"]


def test_a_broken_setting_has_its_place(run: Run, node: Path) -> None:
    edit(node, "port = 11112", "prot = 11112")
    said = run("check")
    assert said.status == 1
    assert said.err == (
        f"{node.relative_to(node.parent)}:12:1: unknown key `prot`; did you mean `port`?\n"
    )


def test_a_broken_rule_has_its_place(run: Run, node: Path) -> None:
    rule = node.parent / "routing_rules" / "10-ct-tissue.yaml"
    edit(rule, "Modality: CT", "Modalty: CT")
    said = run("check")
    assert said.status == 1
    assert "10-ct-tissue.yaml:8:7: " in said.err
    assert "Modality" in said.err


def test_a_broken_model_has_its_place(run: Run, node: Path) -> None:
    descriptor = node.parent / "models" / "ct_tissue.yaml"
    edit(descriptor, "modality:", "modalty:")
    said = run("check")
    assert said.status == 1
    assert "models/ct_tissue.yaml:" in said.err
    assert "modalty" in said.err


def test_a_changed_bundle_is_told(run: Run, node: Path) -> None:
    weights = node.parent / "models" / "ct_tissue" / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes() + b"\0")
    said = run("check")
    assert said.status == 1
    assert "digest" in said.err


def test_a_model_that_does_not_load_is_told(run: Run, node: Path) -> None:
    models = node.parent / "models"
    before = bundle_digest(models / "ct_tissue")
    (models / "ct_tissue" / "models" / "model.pt").write_bytes(b"no weights")
    edit(models / "ct_tissue.yaml", before, bundle_digest(models / "ct_tissue"))

    said = run("check")

    assert said.status == 1
    assert "ct_tissue.yaml:1:1: model ct_tissue failed" in said.err
    assert run("check", "--no-load").status == 0


def test_problems_of_rules_and_models_are_told_at_once(run: Run, node: Path) -> None:
    rules = node.parent / "routing_rules"
    edit(rules / "10-ct-tissue.yaml", "Modality: CT", "Modalty: CT")
    (rules / "30-broken.yaml").write_text("rule: [\n")
    (rules / "40-unknown.yaml").write_text(
        "rule: x\nwhen: {Modality: CT}\nthen:\n  - segment: {model: nonesuch, send_to: [nobody]}\n"
    )
    edit(node.parent / "models" / "ct_tissue.yaml", "modality:", "modalty:")

    said = run("check")

    assert said.status == 1
    lines = said.err.splitlines()
    for name in ("10-ct-tissue.yaml:", "30-broken.yaml:", "40-unknown.yaml:", "ct_tissue.yaml:"):
        assert any(name in line for line in lines), name
    assert "nonesuch" in said.err
    assert "nobody" in said.err
    assert all(line.split(":")[1].isdigit() and line.split(":")[2].isdigit() for line in lines)


def test_a_key_of_pseudonyms_that_others_may_read_is_told(run: Run, node: Path) -> None:
    key = node.parent / "pseudonyms.key"
    key.write_text("ab" * 32)
    key.chmod(0o644)
    with node.open("a") as file:
        file.write(f'\n[deidentification]\nkey_file = "{key.name}"\n')
    said = run("check", "--no-load")
    assert said.status == 1
    assert said.err.endswith(f"pseudonyms.key; run: chmod 600 {key}\n")
    key.chmod(0o600)
    assert run("check", "--no-load").status == 0


def test_a_rule_for_a_node_that_this_version_cannot_send_to(run: Run, node: Path) -> None:
    with node.open("a") as file:
        file.write('\n[nodes.vna]\nkind = "dicomweb"\nurl = "https://vna.example/dicom-web"\n')
    rule = node.parent / "routing_rules" / "30-vna.yaml"
    rule.write_text("rule: x\nwhen: {Modality: CT}\nthen:\n  - forward: {to: [vna]}\n")
    said = run("check")
    assert said.status == 1
    assert "30-vna.yaml:4:20: this version sends to no node of kind dicomweb" in said.err


def for_another_node(node: Path) -> None:
    edit(node, 'kind = "dimse"', 'kind = "dimse"\nresults = { outputs = ["sc", "rtstruct"] }')


def without_a_code(node: Path) -> None:
    descriptor = node.parent / "models" / "ct_tissue.yaml"
    edit(descriptor, '      CodeValue: "91720002"\n', "")


def with_an_unknown_label(node: Path) -> None:
    edit(node.parent / "models" / "ct_tissue.yaml", "labelID: 3", "labelID: 4")


def with_another_key(node: Path) -> None:
    edit(node.parent / "models" / "ct_tissue.yaml", "input_key: image", "input_key: scan")


def with_another_run_key(node: Path) -> None:
    descriptor = node.parent / "models" / "ct_tissue.yaml"
    edit(descriptor, "modality: [CT]", "modality: [CT]\nhost: {run_key: evaluating}")


def without_configuration(node: Path) -> None:
    (node.parent / "models" / "ct_tissue" / "configs" / "inference.json").unlink()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            for_another_node,
            "routing_rules/10-ct-tissue.yaml:15:43: node pacs takes sc, rtstruct, and model "
            "ct_tissue makes seg, so that nothing would be sent; let "
            "nodes.pacs.results.outputs in the settings and `outputs` in ",
        ),
        (without_a_code, "models/ct_tissue.yaml:23:5: the key `CodeValue` is missing"),
        (with_an_unknown_label, "the bundle's metadata defines no output channel 4"),
        (with_an_unknown_label, "the bundle gives label 3 (bone), and no segment here says what"),
        (with_another_key, "models/ct_tissue.yaml:4:1: the bundle reads image and nothing of the"),
        (with_another_run_key, ": the bundle's configuration has no key 'evaluating'"),
        (without_configuration, "ct_tissue/configs holds none of inference.json"),
    ],
)
def test_what_would_fail_at_the_first_patient_is_found_by_check_and_at_the_start(
    run: Run, node: Path, change: Callable[[Path], None], problem: str
) -> None:
    change(node)
    said = run("check", "--no-load")
    assert said.status == 1
    assert problem in said.err
    with pytest.raises(ConfigurationInvalid) as caught:
        prepare(load_settings(node))
    assert problem in str(caught.value).replace(f"{node.parent}/", "")


def test_what_a_setting_asks_for_in_vain_is_noted(run: Run, node: Path) -> None:
    edit(node, 'kind = "dimse"', 'kind = "dimse"\nstorage_commitment = true')
    node.write_text(f'{node.read_text()}\n[sources.archive]\nnode = "pacs"\n')
    said = run("check")
    assert said.status == 0
    assert "note: sources.archive: this version pulls from nodes of kind healthimag" in said.out
    assert "note: nodes.pacs.storage_commitment: this version does not ask" in said.out
    assert "note: dimse.allow is empty: any peer may send to this node" in said.out


def test_folders_that_are_missing_are_told(run: Run, node: Path) -> None:
    shutil.rmtree(node.parent / "routing_rules")
    said = run("check")
    assert said.status == 1
    assert "routing_rules" in said.err


@pytest.mark.parametrize("wrong", ["certificate", "key", "authorities"])
def test_a_file_of_the_secure_port_that_is_none_is_told(
    run: Run, node: Path, tmp_path: Path, wrong: str
) -> None:
    authority = Authority(tmp_path / "tls")
    own = authority.issue("node")
    files = {
        "certificate": own.certificate,
        "key": own.key,
        "authorities": authority.certificate,
    }
    lines = [f'{name} = "{path.relative_to(tmp_path)}"' for name, path in files.items()]
    with node.open("a") as file:
        file.write("\n".join(["\n[dimse.tls]", *lines, ""]))
    assert run("check").status == 0

    files[wrong].write_text("no PEM\n")
    said = run("check")

    assert said.status == 1
    assert str(files[wrong].relative_to(tmp_path)) in said.err


def test_a_file_for_calling_a_peer_that_is_none_is_told(run: Run, node: Path) -> None:
    with node.open("a") as file:
        file.write('\n[nodes.pacs.tls]\nauthorities = "tls/authority.pem"\n')
    said = run("check")
    assert said.status == 1
    assert "tls/authority.pem" in said.err
    assert "No such file or directory" in said.err
