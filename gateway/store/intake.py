"""The one way in: every door hands an instance to `Intake`, which keeps it or refuses it."""

from contextlib import suppress
from dataclasses import dataclass

import structlog

from gateway.dicom.header import InstanceHeader, read_header
from gateway.errors import (
    DataSetUnreadable,
    GatewayError,
    InstanceMismatch,
    StoreFull,
    StoreUnavailable,
)
from gateway.store.counters import Counters
from gateway.store.instances import InstanceIndex, Receipt
from gateway.store.leftover import LeftObject, Leftover
from gateway.store.objects import ObjectStore, SpooledObject
from gateway.store.origin import Origin
from gateway.store.quarantine import Quarantine

_log = structlog.get_logger()
_LONGEST_HEADER_BYTES = 1 << 24
"""Where the naming attributes stand later in a data set than this, it is not understood."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """What a sender calls an instance before its bytes come."""

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A whole instance as it came in, with what its sender called it."""

    data_set: bytes
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str


class Reception:
    """One instance while its bytes arrive; it ends with `keep` or `discard`."""

    def __init__(
        self, intake: "Intake", announced: Announcement, origin: Origin, spooled: SpooledObject
    ) -> None:
        self._intake = intake
        self._announced = announced
        self._origin = origin
        self._spooled = spooled
        self._header: InstanceHeader | None = None

    def write(self, fragment: bytes | memoryview) -> None:
        """Take the next bytes of the data set.

        Raises:
            StoreFull, StoreUnavailable: the file system took no more; call `discard`.
        """
        self._spooled.write(fragment)

    def header(self) -> InstanceHeader:
        """Return what the instance is, of which all bytes are here.

        Raises:
            DataSetUnreadable, InstanceMismatch: as `keep` does; call `discard`.
        """
        if self._header is None:
            self._header = self._intake.admitted(self._announced, self._origin, self._spooled)
        return self._header

    def keep(self) -> Receipt:
        """Keep the instance; when this returns, it outlives a power cut.

        Raises:
            StoreFull, StoreUnavailable: the store took no more.
            DataSetUnreadable: no UID, class, study or series; the bytes are in quarantine.
            InstanceMismatch: the data set names another instance or class than its sender.
        """
        try:
            return self._intake.record(self.header(), self._announced, self._origin, self._spooled)
        finally:
            self._spooled.discard()

    def discard(self) -> None:
        """Throw away what came so far."""
        self._spooled.discard()


class Intake:
    """Keeps what the doors bring: checked, durable and indexed before anybody says Success."""

    def __init__(
        self, objects: ObjectStore, index: InstanceIndex, quarantine: Quarantine, counters: Counters
    ) -> None:
        self._objects = objects
        self._index = index
        self._quarantine = quarantine
        self._counters = counters

    def receive(self, announced: Announcement, origin: Origin) -> Reception:
        """Begin to take an instance; its bytes go straight to a file.

        Raises:
            StoreFull: less free space than the reserve; nothing was kept.
            StoreUnavailable: the file system took no file.
        """
        self._objects.require_space()
        return Reception(self, announced, origin, self._spool(announced, origin))

    def keep(self, offer: Offer, origin: Origin) -> Receipt:
        """Keep a whole instance, as `Reception.keep` does.

        Raises:
            GatewayError: as `receive` and `Reception.keep`.
        """
        try:
            reception = self.receive(_announcement(offer), origin)
            try:
                reception.write(offer.data_set)
            except GatewayError:
                reception.discard()
                raise
            return reception.keep()
        except StoreFull:
            self.count_full()
            raise

    def keep_known(self, offer: Offer, header: InstanceHeader, origin: Origin) -> Receipt:
        """Keep an instance whose header is known; results may use the reserve."""
        announced = _announcement(offer)
        spooled = self._spool(announced, origin, uses_reserve=True)
        try:
            spooled.write(offer.data_set)
            return self.record(header, announced, origin, spooled)
        finally:
            spooled.discard()

    def recover(self, leftover: Leftover, content: LeftObject, origin: Origin) -> None:
        """Enter what a start found whole and without a row, unless it was refused before."""
        meta = content.meta
        announced = Announcement(
            transfer_syntax_uid=meta.transfer_syntax_uid,
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid=meta.sop_instance_uid,
        )
        try:
            header = _checked_header(announced, leftover)
        except (DataSetUnreadable, InstanceMismatch):
            return
        self._index.record(header, content.stored, meta.transfer_syntax_uid, origin)
        _log.info("instance_recovered", sop_instance_uid=header.sop_instance_uid)

    def count_full(self) -> None:
        """Count an instance that was refused for want of space."""
        # The index may stand on the very disk that is full.
        with suppress(StoreUnavailable):
            self._counters.add("refused_store_full")

    def _spool(
        self, announced: Announcement, origin: Origin, *, uses_reserve: bool = False
    ) -> SpooledObject:
        return self._objects.spool(
            origin=origin,
            sop_class_uid=announced.sop_class_uid,
            sop_instance_uid=announced.sop_instance_uid,
            transfer_syntax_uid=announced.transfer_syntax_uid,
            uses_reserve=uses_reserve,
        )

    def admitted(
        self, announced: Announcement, origin: Origin, spooled: SpooledObject
    ) -> InstanceHeader:
        """Return the header of what arrived, unless it is refused."""
        spooled.flush()
        try:
            return _checked_header(announced, spooled)
        except DataSetUnreadable as error:
            self._set_aside(announced, origin, spooled, error)
            raise
        except InstanceMismatch:
            self._counters.add("refused_instance_mismatch")
            raise

    def record(
        self,
        header: InstanceHeader,
        announced: Announcement,
        origin: Origin,
        spooled: SpooledObject,
    ) -> Receipt:
        """Publish and index what arrived."""
        stored = spooled.publish()
        try:
            receipt = self._index.record(
                header,
                stored,
                announced.transfer_syntax_uid,
                origin,
                is_durable=not spooled.is_sealed,
            )
        except GatewayError:
            spooled.leave()
            raise
        if not self._objects.has(stored.key):
            # A restarted process took the file for one that its killed forerunner left.
            spooled.publish()
        if receipt is Receipt.CONFLICT:
            _log.warning(
                "instance_conflict",
                sop_instance_uid=header.sop_instance_uid,
                series_instance_uid=header.series_instance_uid,
                calling_ae=origin.calling_ae,
                meaning="same SOP Instance UID, other bytes; both kept, the newer is current",
            )
        return receipt

    def _set_aside(
        self,
        announced: Announcement,
        origin: Origin,
        spooled: SpooledObject,
        error: DataSetUnreadable,
    ) -> None:
        note = {
            "reason": str(error),
            "sop_instance_uid": announced.sop_instance_uid,
            "sop_class_uid": announced.sop_class_uid,
            "transfer_syntax_uid": announced.transfer_syntax_uid,
            "calling_ae": origin.calling_ae,
        }
        path = self._quarantine.set_aside(spooled.copy_to, note)
        self._counters.add("quarantined")
        _log.warning("instance_quarantined", file=path.name, **note)


def _announcement(offer: Offer) -> Announcement:
    return Announcement(
        transfer_syntax_uid=offer.transfer_syntax_uid,
        sop_class_uid=offer.sop_class_uid,
        sop_instance_uid=offer.sop_instance_uid,
    )


def _checked_header(announced: Announcement, spooled: SpooledObject | Leftover) -> InstanceHeader:
    header = _read_header(announced, spooled)
    if header.sop_instance_uid != announced.sop_instance_uid:
        raise InstanceMismatch("SOP Instance UID of command and data set differ")
    if header.sop_class_uid != announced.sop_class_uid:
        raise InstanceMismatch("SOP Class UID of command and data set differ")
    return header


def _read_header(announced: Announcement, spooled: SpooledObject | Leftover) -> InstanceHeader:
    """Read the header from the bytes at hand, or from the file where it is longer than those."""

    def read(content: bytes) -> InstanceHeader:
        return read_header(
            content,
            announced.transfer_syntax_uid,
            sop_class_uid=announced.sop_class_uid,
            sop_instance_uid=announced.sop_instance_uid,
        )

    try:
        return read(spooled.head)
    except DataSetUnreadable:
        if spooled.size_bytes <= len(spooled.head):
            raise
        return read(spooled.read(_LONGEST_HEADER_BYTES))
