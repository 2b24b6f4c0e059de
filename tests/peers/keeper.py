"""A storage SCP for what DCMTK's cannot take: it keeps the bytes of every transfer syntax."""

import threading
from io import BytesIO
from typing import Self

from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from tests.peers.node import Peer
from tests.peers.processes import free_port
from tests.peers.raw import Part10

_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"  # newer than pydicom's list
_TRANSFER_SYNTAXES = [*AllTransferSyntaxes, _DEFLATED_FRAMES]


class Keeper:
    """Answers Success, or another status, to every C-STORE and remembers what came."""

    ae_title = "KEEPER"

    def __init__(self) -> None:
        self.port = free_port()
        self._entity = AE(ae_title=self.ae_title)
        self._entity.maximum_pdu_size = 0
        self._received: list[Part10] = []
        self._lock = threading.Lock()
        for context in AllStoragePresentationContexts:
            self._entity.add_supported_context(str(context.abstract_syntax), _TRANSFER_SYNTAXES)

    def __enter__(self) -> Self:
        self._entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._keep)]
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._entity.shutdown()

    @property
    def peer(self) -> Peer:
        """This SCP as a node of the gateway."""
        return Peer(ae_title=self.ae_title, port=self.port)

    def received(self, sop_instance_uid: str) -> list[Part10]:
        """Return every arrival of an instance."""
        with self._lock:
            return [item for item in self._received if item.sop_instance_uid == sop_instance_uid]

    def all(self) -> list[Part10]:
        """Return all arrivals in their order."""
        with self._lock:
            return list(self._received)

    def _keep(self, event: Event) -> int:
        request = event.request
        assert isinstance(request, C_STORE)
        assert isinstance(request.DataSet, BytesIO)
        item = Part10(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            data_set=request.DataSet.getvalue(),
        )
        with self._lock:
            self._received.append(item)
        return 0x0000
