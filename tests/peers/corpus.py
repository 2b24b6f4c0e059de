"""Real DICOM from the folder that GATEWAY_TEST_DATA names, through its MANIFEST.tsv."""

import csv
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

_NAMES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_UID = re.compile(rb"[0-9.]+\0?")
_NAMESPACE = uuid.UUID("cb2ff1a6-0c3a-4b1e-8d84-7b2f0f3a5c11")


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """The corpus, which is read only, and a folder for copies that need changes."""

    root: Path
    scratch: Path

    def folder(self, name: str) -> list[Path]:
        """Return the DICOM files directly in one folder of the corpus."""
        found = sorted(path for path in (self.root / name).iterdir() if is_part10(path))
        assert found, f"the corpus has no DICOM in {name}"
        return found

    def of_transfer_syntax(self, uid: str) -> list[Path]:
        """Return the files that the manifest lists under a transfer syntax."""
        with (self.root / "MANIFEST.tsv").open(encoding="utf-8", newline="") as manifest:
            rows = csv.DictReader(manifest, delimiter="\t")
            return [self.root / row["path"] for row in rows if row["transfer_syntax"] == uid]

    def named(self, paths: Sequence[Path], name: str, **values: str) -> list[Path]:
        """Copy files as one series whose instances have all their UIDs.

        De-identification emptied the UIDs of some of these files; a modality never sends them
        so. What is empty is filled the way a sender would: from the file's meta information,
        and with one study and one series. ``values`` overwrite attributes.
        """
        folder = self.scratch / name
        folder.mkdir(exist_ok=True)
        return [_named(path, folder / f"{i:04d}.dcm", name, values) for i, path in enumerate(paths)]


def is_part10(path: Path) -> bool:
    """Tell whether a file begins as a DICOM file does (PS3.10 section 7.1)."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def made_uid(*parts: str) -> str:
    """Return a UID under 2.25 that follows from some text."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '|'.join(parts)).int}"


def is_named(instance: Dataset) -> bool:
    """Tell whether a data set has the UIDs that every instance must have, all well formed."""
    return all(_UID.fullmatch(_raw(instance, keyword)) for keyword in _NAMES)


def _raw(instance: Dataset, keyword: str) -> bytes:
    """Return an element's bytes as they stand in the file."""
    value = instance.get_item(keyword).value if keyword in instance else b""
    return value if isinstance(value, bytes) else str(value or "").encode()


def _named(source: Path, target: Path, name: str, values: dict[str, str]) -> Path:
    instance = dcmread(source)
    instance.SOPClassUID = instance.file_meta.MediaStorageSOPClassUID
    instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID
    if not instance.get("StudyInstanceUID"):
        instance.StudyInstanceUID = made_uid("study", name)
    if not instance.get("SeriesInstanceUID"):
        instance.SeriesInstanceUID = made_uid("series", name)
    for keyword, value in values.items():
        setattr(instance, keyword, value)
    instance.save_as(target, enforce_file_format=True)
    return target
