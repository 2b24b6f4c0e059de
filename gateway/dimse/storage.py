"""The storage service: C-STORE, from the first fragment to the answer (PS3.4 annex B)."""

import structlog

from gateway.dimse.message import Command
from gateway.dimse.service import PresentationContext
from gateway.errors import GatewayError, StoreFull, StoreUnavailable
from gateway.store import Announcement, NodeStore, Origin, Reception

_log = structlog.get_logger()
_SUCCESS = 0x0000


class IncomingInstance:
    """One C-STORE request whose data set goes to a file as it comes.

    Where the store refuses, the rest of the data set is read and dropped: the peer is owed an
    answer, and reads it only after it sent everything.
    """

    def __init__(
        self,
        store: NodeStore,
        context: PresentationContext,
        command: Command,
        origin: Origin,
        *,
        can_keep: bool = True,
    ) -> None:
        self.context = context
        self.command = command
        self._store = store
        self._reception: Reception | None = None
        self._failure: GatewayError | None = None
        announced = Announcement(
            transfer_syntax_uid=context.transfer_syntax,
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
        )
        if not can_keep:
            self._failure = StoreUnavailable("the index did not take the association")
            return
        try:
            self._reception = store.intake.receive(announced, origin)
        except GatewayError as error:
            self._failure = error

    def write(self, fragment: memoryview) -> None:
        """Take a fragment of the data set."""
        if self._reception is not None:
            try:
                self._reception.write(fragment)
            except GatewayError as error:
                self.discard()
                self._failure = error

    def discard(self) -> None:
        """Throw away what came: the association ended in the middle of it."""
        if self._reception is not None:
            self._reception.discard()
            self._reception = None

    def keep(self) -> tuple[int, str]:
        """Keep the instance; return the status that is now true, and the reason of a refusal."""
        if self._reception is not None:
            try:
                self._reception.keep()
            except GatewayError as error:
                self._failure = error
        if self._failure is None:
            return _SUCCESS, ""
        return self._refused(self._failure)

    def _refused(self, error: GatewayError) -> tuple[int, str]:
        if isinstance(error, StoreFull):
            self._store.intake.count_full()
        _log.warning(
            "instance_refused",
            sop_instance_uid=self.command.sop_instance_uid,
            status=f"{error.dimse_status:04X}H",
            reason=str(error),
        )
        return error.dimse_status, str(error)
