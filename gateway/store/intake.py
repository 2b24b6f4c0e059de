"""The one way in: every door hands an instance to `Intake`, which keeps it or refuses it."""

from dataclasses import dataclass

import structlog

from gateway.dicom.header import InstanceHeader, read_header
from gateway.errors import DataSetUnreadable, InstanceMismatch, StoreFull
from gateway.store.counters import Counters
from gateway.store.instances import InstanceIndex, Origin, Receipt
from gateway.store.objects import ObjectStore
from gateway.store.quarantine import Quarantine

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """An instance as it came in, with what its sender called it."""

    data_set: bytes
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str


class Intake:
    """Keeps what the doors bring: checked, durable and indexed before anybody says Success."""

    def __init__(
        self, objects: ObjectStore, index: InstanceIndex, quarantine: Quarantine, counters: Counters
    ) -> None:
        self._objects = objects
        self._index = index
        self._quarantine = quarantine
        self._counters = counters

    def keep(self, offer: Offer, origin: Origin) -> Receipt:
        """Keep one instance; when this returns, it outlives a power cut.

        Raises:
            StoreFull: less free space than the reserve; nothing was kept.
            DataSetUnreadable: no UID, class, study or series; the bytes are in quarantine.
            InstanceMismatch: the data set names another instance or class than its sender.
        """
        try:
            self._objects.require_space()
            return self.keep_known(offer, self._admitted(offer, origin), origin)
        except StoreFull:
            self._counters.add("refused_store_full")
            raise

    def _admitted(self, offer: Offer, origin: Origin) -> InstanceHeader:
        try:
            return self._checked_header(offer)
        except DataSetUnreadable as error:
            self._set_aside(offer, origin, error)
            raise
        except InstanceMismatch:
            self._counters.add("refused_instance_mismatch")
            raise

    def keep_known(self, offer: Offer, header: InstanceHeader, origin: Origin) -> Receipt:
        """Keep an instance whose header is known; results may use the reserve."""
        stored = self._objects.keep(
            offer.data_set,
            sop_class_uid=header.sop_class_uid,
            sop_instance_uid=header.sop_instance_uid,
            transfer_syntax_uid=offer.transfer_syntax_uid,
        )
        receipt = self._index.record(header, stored, offer.transfer_syntax_uid, origin)
        if receipt is Receipt.CONFLICT:
            _log.warning(
                "instance_conflict",
                sop_instance_uid=header.sop_instance_uid,
                series_instance_uid=header.series_instance_uid,
                calling_ae=origin.calling_ae,
                meaning="same SOP Instance UID, other bytes; both kept, the newer is current",
            )
        return receipt

    def _checked_header(self, offer: Offer) -> InstanceHeader:
        header = read_header(
            offer.data_set,
            offer.transfer_syntax_uid,
            sop_class_uid=offer.sop_class_uid,
            sop_instance_uid=offer.sop_instance_uid,
        )
        if header.sop_instance_uid != offer.sop_instance_uid:
            raise InstanceMismatch("SOP Instance UID of command and data set differ")
        if header.sop_class_uid != offer.sop_class_uid:
            raise InstanceMismatch("SOP Class UID of command and data set differ")
        return header

    def _set_aside(self, offer: Offer, origin: Origin, error: DataSetUnreadable) -> None:
        note = {
            "reason": str(error),
            "sop_instance_uid": offer.sop_instance_uid,
            "sop_class_uid": offer.sop_class_uid,
            "transfer_syntax_uid": offer.transfer_syntax_uid,
            "calling_ae": origin.calling_ae,
        }
        path = self._quarantine.set_aside(offer.data_set, note)
        self._counters.add("quarantined")
        _log.warning("instance_quarantined", file=path.name, **note)
