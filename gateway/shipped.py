"""The examples that travel with the package: models, rules, service units."""

from pathlib import Path


def shipped(name: str) -> Path:
    """Return the folder ``models``, ``routing_rules`` or ``systemd`` of this installation.

    In a wheel they lie inside the package; in a checkout beside it.
    """
    package = Path(__file__).resolve().parent
    installed = package / "share" / name
    return installed if installed.is_dir() else package.parent / name
