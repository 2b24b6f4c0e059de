"""Rules and models change while the node runs: together, and only when the new ones are good."""

import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.errors import ConfigurationInvalid, NotFound
from gateway.inference import bundle_digest
from gateway.settings import DimseNode, NodeSettings, ResultSettings, Settings
from gateway.workflow.configuration_book import ConfigurationBook
from tests.unit.inference.bundles import descriptor, threshold_bundle

FORWARD = "rule: {name}\nwhen: {{Modality: CT}}\nthen:\n  - forward: {{to: [pacs]}}\n"
SEGMENT = (
    "rule: {name}\nwhen: {{Modality: CT}}\n"
    "then:\n  - segment: {{model: {model}, send_to: [pacs]}}\n"
)


def write(folder: Path, name: str, text: str) -> None:
    """Replace a file by renaming over it, as editors do."""
    new = folder / f".{name}.swp"
    new.write_text(text)
    new.rename(folder / name)


def names(book: ConfigurationBook) -> list[str]:
    return [rule.name for rule in book.rules().rules]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    write(folder, "10-a.yaml", FORWARD.format(name="a"))
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(rules: Path, models: Path) -> Settings:
    pacs = DimseNode(
        kind="dimse",
        ae_title="PACS",
        host="127.0.0.1",
        port=104,
        results=ResultSettings(outputs=("seg", "sr")),
    )
    return Settings(
        node=NodeSettings(rules_dir=rules, models_dir=models, reserve_gb=0), nodes={"pacs": pacs}
    )


@pytest.fixture
def book(settings: Settings) -> ConfigurationBook:
    return ConfigurationBook(settings)


@pytest.fixture
def running(settings: Settings, rules: Path, models: Path) -> ConfigurationBook:
    """A book whose rule runs the model ``thresholds``."""
    threshold_bundle(models)
    write(rules, "10-a.yaml", SEGMENT.format(name="a", model="thresholds"))
    return ConfigurationBook(settings)


def deploy(models: Path, **changes: object) -> None:
    """Write the descriptor that fits the bundle as it is now, with changes."""
    content = descriptor(bundle_digest(models / "thresholds")) | changes
    write(models, "thresholds.yaml", json.dumps(content, indent=1))


def told(book: ConfigurationBook) -> list[str]:
    """Return the problems that a look at the files logs; what was in force must stay so."""
    before = book._configuration
    with capture_logs() as logs:
        assert book.current() is before
        assert book.current() is before
    [failure] = [entry for entry in logs if entry["event"] == "configuration_reload_failed"]
    assert failure["digest_in_force"] == before.rules.digest
    return list(failure["problems"])


def test_unchanged_files_are_not_read_again(book: ConfigurationBook) -> None:
    assert book.current() is book.current()


def test_a_changed_added_or_removed_rule_is_in_force_at_the_next_call(
    book: ConfigurationBook, rules: Path
) -> None:
    first = book.rules().digest
    write(rules, "20-b.yml", FORWARD.format(name="b"))
    assert names(book) == ["a", "b"]
    write(rules, "10-a.yaml", FORWARD.format(name="c"))
    assert names(book) == ["c", "b"]
    (rules / "20-b.yml").unlink()
    write(rules, "10-a.yaml", FORWARD.format(name="a"))
    assert names(book) == ["a"]
    assert book.rules().digest == first


@pytest.mark.parametrize(
    "broken", ["", "rule: [", "rule: a\n", FORWARD.format(name="a").replace("pacs", "x")]
)
def test_the_last_good_rules_stay_when_the_new_ones_are_broken(
    book: ConfigurationBook, rules: Path, broken: str
) -> None:
    write(rules, "10-a.yaml", broken)
    assert str(rules / "10-a.yaml") in told(book)[0]


def test_rules_come_back_when_the_mistake_is_mended(book: ConfigurationBook, rules: Path) -> None:
    write(rules, "10-a.yaml", "rule: [")
    book.current()
    write(rules, "10-a.yaml", FORWARD.format(name="mended"))
    with capture_logs() as logs:
        assert names(book) == ["mended"]
    loaded = [entry for entry in logs if entry["event"] == "configuration_loaded"]
    assert [entry["rules"] for entry in loaded] == [1]
    assert loaded[0]["digest"] == book.rules().digest


def test_a_folder_that_goes_away_leaves_the_rules_in_force(
    book: ConfigurationBook, rules: Path
) -> None:
    before = book.current()
    moved = rules.with_name("moved")
    os.rename(rules, moved)
    assert book.current() is before
    os.rename(moved, rules)
    assert book.rules().digest == before.rules.digest


def test_broken_rules_at_the_start_are_an_error(settings: Settings, rules: Path) -> None:
    write(rules, "10-a.yaml", "rule: [")
    with pytest.raises(ConfigurationInvalid):
        ConfigurationBook(settings)


def test_an_edited_descriptor_is_in_force_at_the_next_call(
    running: ConfigurationBook, models: Path
) -> None:
    deploy(models, series_description="Another title")
    assert running.model("thresholds").descriptor.series_description == "Another title"


def test_a_model_that_no_rule_runs_is_in_force_without_being_loaded(
    book: ConfigurationBook, models: Path
) -> None:
    threshold_bundle(models)
    assert book.model("thresholds").version == "1.2.3"
    with pytest.raises(NotFound, match="no model 'other'"):
        book.model("other")


def without_code(models: Path) -> None:
    content = json.loads((models / "thresholds.yaml").read_text())
    del content["segments"][0]["SegmentedPropertyTypeCodeSequence"]
    write(models, "thresholds.yaml", json.dumps(content, indent=1))


def with_an_unknown_label(models: Path) -> None:
    outputs = {"pred": {"channel_def": {"0": "background", "1": "soft tissue", "3": "liver"}}}
    metadata = {"version": "1.2.3", "network_data_format": {"outputs": outputs}}
    (models / "thresholds" / "configs" / "metadata.json").write_text(json.dumps(metadata))
    deploy(models)


def with_another_key(models: Path) -> None:
    deploy(models, input_key="scan")


def with_changed_weights(models: Path) -> None:
    (models / "thresholds" / "models" / "model.pt").write_bytes(b"other weights")


def without_configuration(models: Path) -> None:
    (models / "thresholds" / "configs" / "inference.json").unlink()


def without_descriptor(models: Path) -> None:
    (models / "thresholds.yaml").unlink()


def that_does_not_load(models: Path) -> None:
    with_changed_weights(models)
    deploy(models)


def for_nobody(models: Path) -> None:
    deploy(models, outputs=["sc"])


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (
            without_code,
            "models/thresholds.yaml:11:3:",
            "the key `SegmentedPropertyTypeCodeSequence",
        ),
        (with_an_unknown_label, "models/thresholds.yaml:", "the bundle gives label 3 (liver)"),
        (with_another_key, "models/thresholds.yaml:", "nothing of the key 'scan'"),
        (with_changed_weights, "models/thresholds.yaml:1:2:", "write that digest here"),
        (without_configuration, "models/thresholds.yaml:0:0:", "holds none of inference.json"),
        (without_descriptor, "rules/10-a.yaml:4:", "there is no model `thresholds`"),
        (that_does_not_load, "models/thresholds.yaml:1:1:", "model thresholds failed: "),
        (for_nobody, "rules/10-a.yaml:4:44:", "model thresholds makes sc"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_last_good_model_stays_when_its_new_files_are_broken(
    running: ConfigurationBook, tmp_path: Path, models: Path, change: object, place: str, words: str
) -> None:
    before = running.model("thresholds")
    assert callable(change)
    change(models)
    problems = told(running)
    assert any(f"{tmp_path}/{place}" in one and words in one for one in problems), problems
    assert running.model("thresholds") == before


def test_a_rule_that_begins_to_run_a_model_that_does_not_load_is_not_taken_over(
    book: ConfigurationBook, rules: Path, models: Path
) -> None:
    threshold_bundle(models)
    that_does_not_load(models)
    assert book.model("thresholds").version == "1.2.3"
    write(rules, "10-a.yaml", SEGMENT.format(name="a", model="thresholds"))
    [problem] = told(book)
    assert "thresholds.yaml:1:1: model thresholds failed: " in problem


def test_a_model_and_its_rule_that_come_one_after_the_other_are_taken_over(
    book: ConfigurationBook, rules: Path, models: Path
) -> None:
    write(rules, "20-b.yaml", SEGMENT.format(name="b", model="thresholds"))
    assert "there is no model `thresholds`" in told(book)[0]
    threshold_bundle(models)
    assert names(book) == ["a", "b"]
    assert [model.name for model in book.current().models_in_use] == ["thresholds"]


def test_what_editors_leave_beside_a_descriptor_is_no_descriptor(
    book: ConfigurationBook, models: Path
) -> None:
    (models / ".#thresholds.yaml").symlink_to("somebody@machine.1234")
    (models / "thresholds.yaml~").write_text("half")
    assert book.current().models == ()


def test_a_descriptor_of_an_impossible_name_is_told(book: ConfigurationBook, models: Path) -> None:
    (models / "my model.yaml").write_text("half")
    [problem] = told(book)
    assert "my model.yaml:0:0: there is no model 'my model'" in problem
