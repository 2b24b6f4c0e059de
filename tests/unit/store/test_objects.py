"""Instances as files: the bytes exactly, durable before they are visible, never half of one."""

import hashlib
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.errors import StoreFull
from gateway.store.objects import ObjectStore, SpooledObject
from gateway.store.spool import Ahead
from gateway.store.stored_object import StoredObject
from tests.unit.store.samples import CT, EXPLICIT, IMPLICIT, ODD_PRIVATE_ELEMENT, encoded, origin


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path, reserve_gb=0)


def keep(
    objects: ObjectStore, data_set: bytes, uid: str = "2.25.3", syntax: str = EXPLICIT
) -> StoredObject:
    spooled = spool(objects, uid, syntax)
    try:
        for start in range(0, len(data_set), 100_000):
            spooled.write(memoryview(data_set)[start : start + 100_000])
        return spooled.publish()
    finally:
        spooled.discard()


def spool(objects: ObjectStore, uid: str, syntax: str) -> SpooledObject:
    return objects.spool(
        sop_class_uid=CT, sop_instance_uid=uid, transfer_syntax_uid=syntax, origin=origin()
    )


def files(root: Path, folder: str) -> list[Path]:
    return sorted(path for path in (root / folder).rglob("*") if path.is_file())


@contextmanager
def no_file_longer_than(length: int) -> Iterator[None]:
    """Make writes beyond a length fail, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "data_set",
    [encoded(), encoded() + ODD_PRIVATE_ELEMENT, b"", b"not DICOM at all", os.urandom(3_000_001)],
    ids=["plain", "odd-length", "empty", "garbage", "large"],
)
def test_the_data_set_comes_back_byte_for_byte(objects: ObjectStore, data_set: bytes) -> None:
    stored = keep(objects, data_set)

    with objects.open_data_set(stored.key) as file:
        assert file.read() == data_set
    assert stored.sha256 == hashlib.sha256(data_set).hexdigest()
    assert stored.size_bytes == len(data_set)


def test_what_is_kept_is_a_dicom_file(objects: ObjectStore) -> None:
    read = dcmread(objects.path(keep(objects, encoded()).key))
    assert read.SeriesDescription == "Abdomen"
    assert read.file_meta.MediaStorageSOPInstanceUID == "2.25.3"


def test_the_same_content_is_one_file(objects: ObjectStore, tmp_path: Path) -> None:
    first = keep(objects, encoded())
    before = objects.path(first.key).stat()

    assert keep(objects, encoded()) == first

    assert files(tmp_path, "objects") == [objects.path(first.key)]
    assert objects.path(first.key).stat() == before


def test_what_differs_in_any_part_is_a_file_of_its_own(
    objects: ObjectStore, tmp_path: Path
) -> None:
    keep(objects, encoded())
    keep(objects, encoded(), uid="2.25.4")
    keep(objects, encoded() + b"\0")
    keep(objects, encoded(), syntax=IMPLICIT)
    assert len(files(tmp_path, "objects")) == 4


def test_no_name_comes_from_outside(objects: ObjectStore, tmp_path: Path) -> None:
    stored = keep(objects, encoded(), uid="../../../escaped")
    path = objects.path(stored.key)
    assert path.parent.parent == tmp_path / "objects"
    assert set(path.stem) <= set("0123456789abcdef")


def test_a_file_is_durable_before_it_is_visible_and_its_name_before_it_is_reported(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, int, bool]] = []

    def recording(real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            real(descriptor)
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            synced.append((path, os.fstat(descriptor).st_size, bool(files(tmp_path, "objects"))))

        return sync

    monkeypatch.setattr(os, "fsync", recording(os.fsync))
    monkeypatch.setattr(os, "fdatasync", recording(os.fdatasync))

    stored = keep(objects, encoded())

    (content, length, seen_early), (folder, _, seen_late) = synced
    kept = objects.path(stored.key)
    assert content.parent == tmp_path / "spool" / "node"
    assert length == kept.stat().st_size
    assert not seen_early
    assert folder == kept.parent
    assert seen_late


def test_a_repeated_content_is_reported_only_after_its_name_is_durable(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = objects.path(keep(objects, encoded()).key)
    synced: list[str] = []
    real = os.fsync

    def recording(descriptor: int) -> None:
        real(descriptor)
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", recording)

    keep(objects, encoded())

    assert synced == [str(kept.parent)]


def test_a_full_disk_is_told_and_leaves_nothing(objects: ObjectStore, tmp_path: Path) -> None:
    with no_file_longer_than(10_000), pytest.raises(StoreFull, match="took no more bytes"):
        keep(objects, bytes(100_000))

    assert files(tmp_path, "spool") == []
    assert files(tmp_path, "objects") == []
    assert keep(objects, bytes(100_000)).size_bytes == 100_000


def test_below_the_reserve_nothing_new_is_let_in(tmp_path: Path) -> None:
    with pytest.raises(StoreFull, match=r"GB free is less than the reserve of .*node\.reserve_gb"):
        ObjectStore(tmp_path, reserve_gb=10_000_000).require_space()


def test_above_the_reserve_there_is_space(objects: ObjectStore) -> None:
    objects.require_space()
    assert objects.free_bytes() > 0


def test_what_a_killed_process_left_is_told_with_the_key_of_what_was_published(
    objects: ObjectStore, tmp_path: Path
) -> None:
    half = spool(objects, "2.25.4", EXPLICIT)
    half.write(encoded()[:100])
    whole = spool(objects, "2.25.5", EXPLICIT)
    whole.write(encoded())
    stored = whole.publish()

    first, second = objects.leftovers("node")
    assert first.content is None
    assert second.content is not None
    assert second.content.stored == stored
    assert list(objects.leftovers("receiver-7")) == []
    half.discard()
    whole.discard()
    assert list(objects.leftovers()) == []
    assert objects.path(stored.key).is_file()


def test_many_threads_with_the_same_content_make_one_whole_file(
    objects: ObjectStore, tmp_path: Path
) -> None:
    data_set = os.urandom(200_000)
    together = threading.Barrier(8)
    kept: list[StoredObject] = []

    def work() -> None:
        together.wait()
        kept.append(keep(objects, data_set))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(kept) == 8
    assert len(set(kept)) == 1
    assert len(files(tmp_path, "objects")) == 1
    assert files(tmp_path, "spool") == []
    with objects.open_data_set(kept[0].key) as file:
        assert file.read() == data_set


@pytest.mark.parametrize("length", [0, 1, 140, 200], ids="{}-bytes".format)
def test_a_file_that_ends_before_its_data_set_is_nothing(
    objects: ObjectStore, tmp_path: Path, length: int
) -> None:
    stored = keep(objects, encoded())
    left = tmp_path / "spool" / "receiver-7" / "left"
    left.parent.mkdir()
    left.write_bytes(objects.path(stored.key).read_bytes()[:length])

    (leftover,) = objects.leftovers("receiver-7")

    assert leftover.file_bytes == length
    assert leftover.content is None or leftover.content.stored.key != stored.key


class TestWithNamesAhead:
    @pytest.fixture
    def ahead(self, tmp_path: Path) -> Iterator[ObjectStore]:
        objects = ObjectStore(
            tmp_path, reserve_gb=0, ahead=Ahead(names=16, sync_index=lambda: None)
        )
        yield objects
        objects.close()
        assert files(tmp_path, "spool") == []

    def test_an_instance_needs_one_wait_for_the_disk(
        self, ahead: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep(ahead, encoded())
        waits: list[int] = []
        real = os.fdatasync

        def counted(descriptor: int) -> None:
            waits.append(descriptor)
            real(descriptor)

        monkeypatch.setattr(os, "fdatasync", counted)
        monkeypatch.setattr(os, "fsync", counted)

        keep(ahead, encoded() + b"\0")

        assert len(waits) == 1

    def test_its_name_under_spool_stays_until_its_own_is_durable(
        self, ahead: ObjectStore, tmp_path: Path
    ) -> None:
        path = ahead.path(keep(ahead, encoded()).key)
        assert sum(one.samefile(path) for one in files(tmp_path, "spool")) == 1

        ahead.settle()

        assert path.stat().st_nlink == 1

    def test_a_large_one_is_durable_in_its_place_at_once(
        self, ahead: ObjectStore, tmp_path: Path
    ) -> None:
        """The next start reads what lies under spool/, and nobody waits for it long."""
        path = ahead.path(keep(ahead, bytes(5_000_000)).key)
        assert path.stat().st_nlink == 1
        assert not any(one.stat().st_size for one in files(tmp_path, "spool"))


def test_what_a_process_settles_as_it_ends_is_no_leftover(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed node's receivers may still end while the next one looks through the spool."""
    spool = tmp_path / "spool" / "receiver-0"
    spool.mkdir(parents=True)
    for name in "abc":
        (spool / name).write_bytes(b"x")
    stat = Path.stat

    def settled_meanwhile(path: Path, **how: bool) -> os.stat_result:
        if path.name == "b":
            path.unlink(missing_ok=True)
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", settled_meanwhile)
    found = objects.leftovers()
    assert next(found).path.name == "a"
    (spool / "c").unlink()
    assert list(found) == []


def test_an_object_that_has_its_name_needs_no_file_under_spool(objects: ObjectStore) -> None:
    spooled = spool(objects, "2.25.5", EXPLICIT)
    spooled.write(encoded())
    stored = spooled.publish()
    (leftover,) = objects.leftovers("node")
    spooled.discard()

    objects.restore(leftover.path, stored.key)

    assert objects.path(stored.key).is_file()
