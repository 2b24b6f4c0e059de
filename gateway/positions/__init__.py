"""Files that people edit, read with the line and column of everything in them."""

from gateway.positions.document import (
    Location,
    Position,
    PositionedDocument,
    decode,
    nearest,
    problems,
    quoted,
    read_file,
)
from gateway.positions.toml import load_toml, parse_toml
from gateway.positions.yaml import load_yaml, parse_yaml

__all__ = [
    "Location",
    "Position",
    "PositionedDocument",
    "decode",
    "load_toml",
    "load_yaml",
    "nearest",
    "parse_toml",
    "parse_yaml",
    "problems",
    "quoted",
    "read_file",
]
