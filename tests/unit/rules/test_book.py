"""Rules change while the node runs: as a whole, and only when the new ones are good."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.errors import ConfigurationInvalid
from gateway.rules import RuleBook

GOOD = "rule: {name}\nwhen: {{Modality: CT}}\nthen:\n  - forward: {{to: [pacs]}}\n"


def write(folder: Path, name: str, text: str) -> None:
    """Replace a file by renaming over it, as editors do."""
    new = folder / f".{name}.swp"
    new.write_text(text)
    new.rename(folder / name)


def names(book: RuleBook) -> list[str]:
    return [rule.name for rule in book.current().rules]


@pytest.fixture
def book(tmp_path: Path) -> RuleBook:
    write(tmp_path, "10-a.yaml", GOOD.format(name="a"))
    return RuleBook(tmp_path, nodes={"pacs"})


def test_an_unchanged_folder_is_not_read_again(book: RuleBook) -> None:
    assert book.current() is book.current()


def test_a_changed_added_or_removed_file_is_in_force_at_the_next_call(
    book: RuleBook, tmp_path: Path
) -> None:
    first = book.current().digest
    write(tmp_path, "20-b.yml", GOOD.format(name="b"))
    assert names(book) == ["a", "b"]
    write(tmp_path, "10-a.yaml", GOOD.format(name="c"))
    assert names(book) == ["c", "b"]
    (tmp_path / "20-b.yml").unlink()
    write(tmp_path, "10-a.yaml", GOOD.format(name="a"))
    assert names(book) == ["a"]
    assert book.current().digest == first


@pytest.mark.parametrize(
    "broken", ["", "rule: [", "rule: a\n", GOOD.format(name="a").replace("pacs", "x")]
)
def test_the_last_good_rules_stay_when_the_new_ones_are_broken(
    book: RuleBook, tmp_path: Path, broken: str
) -> None:
    before = book.current()
    write(tmp_path, "10-a.yaml", broken)
    with capture_logs() as logs:
        assert book.current() is before
        assert book.current() is before
    failures = [entry for entry in logs if entry["event"] == "rules_reload_failed"]
    assert len(failures) == 1
    assert str(tmp_path / "10-a.yaml") in failures[0]["problems"][0]
    assert failures[0]["digest_in_force"] == before.digest


def test_rules_come_back_when_the_mistake_is_mended(book: RuleBook, tmp_path: Path) -> None:
    write(tmp_path, "10-a.yaml", "rule: [")
    book.current()
    write(tmp_path, "10-a.yaml", GOOD.format(name="mended"))
    with capture_logs() as logs:
        assert names(book) == ["mended"]
    loaded = [entry for entry in logs if entry["event"] == "rules_loaded"]
    assert [entry["rules"] for entry in loaded] == [1]
    assert loaded[0]["digest"] == book.current().digest


def test_a_folder_that_goes_away_leaves_the_rules_in_force(book: RuleBook, tmp_path: Path) -> None:
    before = book.current()
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    os.rename(tmp_path, moved)
    assert book.current() is before
    os.rename(moved, tmp_path)
    assert book.current().digest == before.digest


def test_broken_rules_at_the_start_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "rule: [")
    with pytest.raises(ConfigurationInvalid):
        RuleBook(tmp_path)
