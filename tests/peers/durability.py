"""Whether an instance was safe before its Success: read from a trace of system calls.

A power cut drops everything that was not fsynced: bytes of files, and entries of folders. So the
order of the calls says what such a cut can cost, at any moment.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.peers.trace import Call

_WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "splice")
_CHANGES = (*_WRITES, "copy_file_range", "ftruncate", "fallocate")
_SENDS = ("write", "writev", "sendto", "sendmsg")
_SYNCS = ("fsync", "fdatasync")
_NAMES = ("rename", "renameat", "renameat2", "link", "linkat")
_P_DATA = 4


def faults(calls: Sequence[Call], sop_instance_uid: str, path: Path, index_log: Path) -> list[str]:
    """Return what a power cut before or after the response could cost; nothing when it is safe.

    ``path`` is where the instance's object is, ``index_log`` the index's write-ahead log. Wanted:
    bytes fsynced, then named, then the folder fsynced, then the row written to the log and the log
    fsynced, and only then the response.

    In place of folder and log, the folder of the name under which the instance was written may be
    fsynced, where this name stays until both are: a start makes the others from it, given that
    the header was fsynced with the bytes.
    """
    uid = sop_instance_uid.encode()
    answered = _first(_answers(calls, uid))
    if answered is None:
        return ["the instance was not answered"]
    named = _last(c for c in _naming(calls, path) if c.ended < answered.begun)
    if named is None:
        return ["the object had no name when the instance was answered"]
    recorded = _first(c for c in _written(calls, index_log) if uid in c.content)
    in_place = _synced(calls, path.parent, after=named.ended)
    indexed = _synced(calls, index_log, after=recorded.ended) if recorded else None
    written_at = _entered_before(calls, named, in_place, indexed)
    entered = _earlier(in_place, written_at)
    return [
        *_unsafe_bytes(calls, named),
        *_unless(_is_before(entered, answered), "the folder was not fsynced before the answer"),
        *_unless(recorded is not None, "the index has no row"),
        *_unless(
            recorded is None or _is_before(entered, recorded),
            "the row was written before the object was safe",
        ),
        *_unless(
            recorded is None or _is_before(_earlier(indexed, written_at), answered),
            "the index was not fsynced before the answer",
        ),
    ]


def _entered_before(
    calls: Sequence[Call], named: Call, in_place: Call | None, indexed: Call | None
) -> Call | None:
    """Return the fsync of the name under which it was written, where that name tells a start all.

    It does not where it goes before the fsyncs of the object's folder and of the index.
    """
    source = Path(named.paths[0])
    made = _first(call for call in calls if _makes(call, source))
    if made is None or not named.name.startswith("link"):
        return None
    gone = _first(
        call
        for call in calls
        if call.name.startswith("unlink") and call.has_succeeded and call.paths[-1] == str(source)
    )
    if gone is not None and not (_is_before(in_place, gone) and _is_before(indexed, gone)):
        return None
    return _synced(calls, source.parent, after=made.ended)


def _makes(call: Call, path: Path) -> bool:
    is_one = call.name.startswith("open") and "O_CREAT" in call.arguments
    return is_one and call.has_succeeded and call.paths[-1] == str(path)


def _unsafe_bytes(calls: Sequence[Call], named: Call) -> Iterator[str]:
    source = Path(named.paths[0])
    written = [call for call in calls if call.name in _CHANGES and _is_on(call, source)]
    if not any(b"DICM" in call.content and call.ended < named.begun for call in written):
        yield "nothing was written before the object had its name"
        return
    last = max(call.ended for call in written)
    synced = _synced(calls, source, after=last)
    if not _is_before(synced, named):
        yield "the bytes were not fsynced before they had their name"


def _answers(calls: Sequence[Call], uid: bytes) -> Iterator[Call]:
    for call in calls:
        if call.name in _SENDS and call.target.startswith("TCP"):
            content = call.content
            if content[:1] == bytes([_P_DATA]) and uid in content:
                yield call


def _naming(calls: Sequence[Call], path: Path) -> Iterator[Call]:
    for call in calls:
        if call.name in _NAMES and call.has_succeeded and call.paths[-1] == str(path):
            yield call


def _written(calls: Sequence[Call], path: Path) -> Iterator[Call]:
    return (call for call in calls if call.name in _WRITES and _is_on(call, path))


def _synced(calls: Sequence[Call], path: Path, *, after: int) -> Call | None:
    """Return the fsync of a file or folder that began after a line and returned first."""
    found = [
        call
        for call in calls
        if call.name in _SYNCS and call.has_succeeded and call.begun > after and _is_on(call, path)
    ]
    return min(found, key=lambda call: call.ended, default=None)


def _is_on(call: Call, path: Path) -> bool:
    return call.target == str(path)


def _is_before(one: Call | None, other: Call) -> bool:
    return one is not None and one.ended < other.begun


def _earlier(one: Call | None, other: Call | None) -> Call | None:
    found = [call for call in (one, other) if call is not None]
    return min(found, key=lambda call: call.ended, default=None)


def _unless(is_so: bool, fault: str) -> list[str]:
    return [] if is_so else [fault]


def _first(calls: Iterator[Call]) -> Call | None:
    return next(calls, None)


def _last(calls: Iterator[Call]) -> Call | None:
    return max(calls, key=lambda call: call.begun, default=None)
