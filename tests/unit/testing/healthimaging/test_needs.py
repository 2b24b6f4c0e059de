"""What the stand-in needs of other projects: nothing that only tests have."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
_LOADED = (
    "import sys, gateway.testing.healthimaging; print(*{n.split('.')[0] for n in sys.modules})"
)


def test_it_loads_with_what_the_product_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {_name(one) for one in project["optional-dependencies"]["test"]}

    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    packages = packages_distributions()
    loaded = {_name(one) for word in done.stdout.split() for one in packages.get(word, ())}
    assert "aiohttp" in loaded
    assert not loaded & extra


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return found.group().lower().replace("_", "-")
