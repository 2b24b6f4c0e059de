"""Every package of the gateway stands in the layers that import-linter holds."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_package_has_its_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    named = {
        word
        for contract in contracts["contracts"]
        for layer in contract.get("layers", [])
        for word in layer.replace("|", " ").split()
    }
    packages = {f"gateway.{path.parent.name}" for path in (ROOT / "gateway").glob("*/__init__.py")}

    assert packages <= named
