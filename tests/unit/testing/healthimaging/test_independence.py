"""A stand-in that shared the client's code would prove nothing about the client."""

import ast
from pathlib import Path

import gateway.testing.healthimaging as stand_in


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    named = {one.module or "" for one in nodes if isinstance(one, ast.ImportFrom)}
    return named | {name.name for one in nodes if isinstance(one, ast.Import) for name in one.names}


def test_the_stand_in_imports_nothing_of_the_client() -> None:
    (folder,) = stand_in.__path__
    modules = {name for path in Path(folder).glob("*.py") for name in imported(path)}
    assert any(name.startswith("gateway.testing.healthimaging.") for name in modules)
    assert not [name for name in modules if name.startswith("gateway.healthimaging")]
