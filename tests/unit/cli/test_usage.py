"""Help that can be read, and wrong usage that is told."""

import re
import subprocess
import sys

import pytest

from tests.unit.cli.conftest import Run

COMMANDS = [
    ("demo",),
    ("init",),
    ("check",),
    ("serve",),
    ("echo",),
    ("send",),
    ("rules", "test"),
    ("models", "describe"),
    ("models", "install"),
    ("models", "list"),
    ("models", "verify"),
    ("models", "run"),
    ("series", "list"),
    ("series", "show"),
    ("jobs", "list"),
    ("jobs", "show"),
    ("jobs", "retry"),
    ("jobs", "cancel"),
]
WITHOUT_SETTINGS = (("demo",), ("init",))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(run: Run, words: tuple[str, ...]) -> None:
    said = run(*words, "--help")
    assert said.status == 0
    assert re.match(rf"\s*Usage: .*gateway {' '.join(words)} ", said.out)
    assert ("--config" in said.out) is (words not in WITHOUT_SETTINGS)
    assert ("--json" in said.out) or words[-1] not in ("list", "show")


@pytest.mark.parametrize("group", ["rules", "models", "series", "jobs"])
def test_every_group_lists_its_commands(run: Run, group: str) -> None:
    said = run(group, "--help")
    assert said.status == 0
    assert all(words[-1] in said.out for words in COMMANDS if words[0] == group)


def test_the_whole_lists_every_command(run: Run) -> None:
    said = run("--help")
    assert said.status == 0
    assert all(words[0] in said.out for words in COMMANDS)
    assert "gateway demo" in said.out


@pytest.mark.parametrize(
    "words",
    [
        ("nonesuch",),
        ("check", "--nonesuch"),
        ("echo",),
        ("send", "pacs"),
        ("series", "show"),
        ("serve", "--role", "nonesuch"),
        ("jobs", "list", "--state", "nonesuch"),
        ("models", "nonesuch"),
        (),
        ("series",),
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_wrong_usage_ends_with_2(run: Run, words: tuple[str, ...]) -> None:
    said = run(*words)
    assert said.status == 2
    assert re.match(r"\s*Usage: .*gateway", said.out + said.err)
    assert "Traceback" not in said.err


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "series", "show", "1.2.3", "--config", "/nonexistent"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "/nonexistent:0:0: no such settings file\n"


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("serve",),
        ("echo", "pacs"),
        ("send", "pacs", "."),
        ("rules", "test", "."),
        ("series", "list"),
        ("jobs", "list"),
    ],
    ids=" ".join,
)
def test_without_settings_the_way_out_is_told(run: Run, words: tuple[str, ...]) -> None:
    said = run(*words)
    assert said.status == 1
    assert "no settings file here; `gateway init` writes one, --config FILE names one" in said.err
