"""One instance on its way in: a Part 10 file whose data set goes to the store as it comes."""

from gateway.dicom.header import InstanceHeader
from gateway.dicom.part10 import FileMeta
from gateway.dicom.part10_stream import FileMetaReader
from gateway.dicomweb.store_response import Outcome
from gateway.errors import DataSetUnreadable, GatewayError, StoreFull, StudyMismatch
from gateway.store import Announcement, NodeStore, Origin, Reception


class IncomingInstance:
    """A part of a store request; it ends with `keep` or `refuse`.

    Where it is refused, the rest of it is read and dropped: others come after it, and the client
    reads the answer only when it has sent everything.
    """

    def __init__(self, store: NodeStore, origin: Origin, study_instance_uid: str | None) -> None:
        self._store = store
        self._origin = origin
        self._study_instance_uid = study_instance_uid
        self._reader = FileMetaReader()
        self._meta: FileMeta | None = None
        self._header: InstanceHeader | None = None
        self._reception: Reception | None = None
        self._error: GatewayError | None = None

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the file."""
        if self._error is not None:
            return
        try:
            if self._reception is not None:
                self._reception.write(fragment)
            elif (head := self._reader.feed(fragment)) is not None:
                self._meta = head.meta
                self._reception = self._store.intake.receive(_announced(head.meta), self._origin)
                self._reception.write(head.data_set)
        except GatewayError as error:
            self._discard(error)

    def keep(self) -> Outcome:
        """Keep the instance, of which all came; return what became of it."""
        try:
            if self._reception is not None:
                self._header = self._reception.header()
                self._require_study(self._header)
                self._reception.keep()
            elif self._error is None:
                raise DataSetUnreadable("the part ends before its file meta information does")
        except GatewayError as error:
            self._discard(error)
        if isinstance(self._error, StoreFull):
            self._store.intake.count_full()
        return self._outcome()

    def refuse(self, error: GatewayError) -> Outcome:
        """Throw away what came, and return that this is why."""
        self._discard(error)
        return self._outcome()

    def _discard(self, error: GatewayError) -> None:
        self._error = error
        if self._reception is not None:
            self._reception.discard()
            self._reception = None

    def _outcome(self) -> Outcome:
        header = self._header
        return Outcome(
            sop_class_uid="" if self._meta is None else self._meta.sop_class_uid,
            sop_instance_uid="" if self._meta is None else self._meta.sop_instance_uid,
            series_instance_uid="" if header is None else header.series_instance_uid,
            images_in_acquisition=None if header is None else header.images_in_acquisition,
            error=self._error,
        )

    def _require_study(self, header: InstanceHeader) -> None:
        """Refuse what is not of the study that the request names."""
        if self._study_instance_uid not in (None, header.study_instance_uid):
            raise StudyMismatch("the instance is not of the study that the request names")


def _announced(meta: FileMeta) -> Announcement:
    return Announcement(
        transfer_syntax_uid=meta.transfer_syntax_uid,
        sop_class_uid=meta.sop_class_uid,
        sop_instance_uid=meta.sop_instance_uid,
    )
