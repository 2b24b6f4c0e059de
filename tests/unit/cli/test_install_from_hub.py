"""``gateway models install monai:NAME``: by MONAI's own download, through a hospital's proxy."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.inference import bundle_digest
from tests.peers.hub import Hub
from tests.unit.inference.test_installation import zip_with, zipped
from tests.unit.inference.zoo import FORMS, zoo_bundle

# The address of MONAI's index of its model zoo, and one at which that index names archives.
INDEX = "raw.githubusercontent.com/Project-MONAI/model-zoo/dev/models/model_info.json"
ARCHIVES = "bundles.example.org"
VERSIONS = ("0.1.0", "0.1.9", "0.1.10")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo_bundle(tmp_path_factory.mktemp("from"), "small", FORMS["usual"]).bundle.root


@pytest.fixture
def answers(tmp_path: Path, bundle: Path) -> dict[str, bytes]:
    """What the hub has: a bundle in three versions."""
    archive = zipped(bundle, tmp_path / "small.zip", under="small/").read_bytes()
    index = {
        f"small_v{one}": {"source": f"https://{ARCHIVES}/small_v{one}.zip"} for one in VERSIONS
    }
    return {
        INDEX: json.dumps(index).encode(),
        **{f"{ARCHIVES}/small_v{one}.zip": archive for one in VERSIONS},
    }


@pytest.fixture
def hub(tmp_path: Path, answers: dict[str, bytes]) -> Iterator[Hub]:
    with Hub(tmp_path / "authority", answers) as running:
        yield running


def install(hub: Hub, node: Path, source: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Install as a person does, in a process of its own: what it trusts is read at its start."""
    command = ["models", "install", source, "--config", str(node), *words]
    return subprocess.run(
        [sys.executable, "-m", "gateway", *command],
        env={**os.environ, **hub.environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Settings of a node without models."""
    (tmp_path / "gateway.toml").write_text(f'[node]\ndata_dir = "{tmp_path / "data"}"\n')
    return tmp_path / "gateway.toml"


def test_a_bundle_arrives_and_its_digests_are_recorded_and_printed(
    hub: Hub, node: Path, bundle: Path, answers: dict[str, bytes]
) -> None:
    done = install(hub, node, "monai:small", "--json")
    assert done.returncode == 0, done.stderr
    models = node.parent / "models"
    printed = json.loads(done.stdout)
    assert printed["bundle_digest"] == bundle_digest(models / "small") == bundle_digest(bundle)
    newest = f"{ARCHIVES}/small_v0.1.10.zip"
    assert printed["archive_sha256"] == sha256(answers[newest]).hexdigest()
    assert json.loads((models / "small.origin.json").read_text()) == printed
    assert {path.name for path in models.iterdir()} == {"small", "small.origin.json"}
    assert set(hub.asked) == {INDEX, newest}


def test_a_version_is_the_one_that_was_asked_for(hub: Hub, node: Path) -> None:
    done = install(hub, node, "monai:small@0.1.9")
    assert done.returncode == 0, done.stderr
    assert hub.asked[-1] == f"{ARCHIVES}/small_v0.1.9.zip"
    assert done.stdout.startswith("installed small 0.1.0, sha256:")
    assert len(done.stdout.splitlines()) == 2


def test_weights_that_a_bundle_only_names_arrive_with_it(
    tmp_path: Path, hub: Hub, node: Path, bundle: Path, answers: dict[str, bytes]
) -> None:
    weights = (bundle / "models" / "model.pt").read_bytes()
    named = {"path": "models/model.pt", "url": f"https://{ARCHIVES}/weights.pt"}
    named |= {"hash_val": sha256(weights).hexdigest(), "hash_type": "sha256"}
    light = tmp_path / "light"
    (light / "models").mkdir(parents=True)
    (light / "configs").symlink_to(bundle / "configs")
    (light / "large_files.yml").write_text(json.dumps({"large_files": [named]}))
    archive = zipped(light, tmp_path / "light.zip", under="small/")
    for path in (light / "configs").iterdir():
        add(archive, path, f"small/configs/{path.name}")
    answers[f"{ARCHIVES}/small_v0.1.10.zip"] = archive.read_bytes()
    answers[f"{ARCHIVES}/weights.pt"] = weights
    done = install(hub, node, "monai:small")
    assert done.returncode == 0, done.stderr
    assert (node.parent / "models" / "small" / "models" / "model.pt").read_bytes() == weights


def add(archive: Path, path: Path, name: str) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.write(path, name)


@pytest.mark.parametrize(
    ("source", "broken", "words"),
    [
        ("monai:absent", {}, "the MONAI hub did not give absent: bundle: absent is not existing"),
        ("monai:small@9.9", {}, "the MONAI hub did not give small@9.9: version: 9.9 of bundle"),
        ("monai:small", {INDEX: b"<html>"}, "the MONAI hub did not give small: "),
        ("monai:small", {INDEX: b"[]"}, "the MONAI hub did not give small: "),
        ("monai:small", {INDEX: None}, "the MONAI hub did not give small: it answered 404"),
        ("monai:small", {"archive": None}, "the MONAI hub did not give small: it answered 404"),
        ("monai:small", {"archive": b"PK but no zip"}, "what it sent is no readable zip file"),
        ("monai:small", {"archive": "../outside"}, "Unsafe path"),
    ],
    ids=["name", "version", "index-html", "index-list", "index", "archive", "broken", "outside"],
)
def test_what_the_hub_does_not_give_is_one_sentence_and_leaves_nothing(
    tmp_path: Path,
    hub: Hub,
    node: Path,
    answers: dict[str, bytes],
    source: str,
    broken: dict[str, bytes | str | None],
    words: str,
) -> None:
    for name, content in broken.items():
        address = f"{ARCHIVES}/small_v0.1.10.zip" if name == "archive" else name
        if content is None:
            del answers[address]
        elif isinstance(content, str):
            answers[address] = zip_with(tmp_path / "evil.zip", content).read_bytes()
        else:
            answers[address] = content
    done = install(hub, node, source)
    assert_told(done, node, words)
    assert not (tmp_path / "outside").exists()


def test_a_hub_that_cannot_be_reached_is_told_with_what_to_set(hub: Hub, node: Path) -> None:
    hub.__exit__()
    assert_told(
        install(hub, node, "monai:small"), node, "it cannot be reached (ProxyError); HTTPS_"
    )


def test_a_proxy_whose_authority_is_not_trusted_is_told(
    hub: Hub, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting = hub.environment
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        del trusting[name]
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Hub, "environment", trusting)
    assert_told(install(hub, node, "monai:small"), node, "REQUESTS_CA_BUNDLE and SSL_CERT_FILE")


def test_an_archive_of_another_digest_than_the_one_given_is_refused(hub: Hub, node: Path) -> None:
    done = install(hub, node, "monai:small", "--sha256", "0" * 64)
    assert_told(done, node, "and not the one given")


def assert_told(done: subprocess.CompletedProcess[str], node: Path, words: str) -> None:
    assert done.returncode == 1, done.stdout
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""
    assert list((node.parent / "models").iterdir()) == []
