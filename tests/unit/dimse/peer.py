"""A peer that stores: pynetdicom's own provider, told what to answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Self, cast

from pydicom import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from gateway.settings import DimseNode
from tests.unit.store.samples import CT, EXPLICIT

VERIFICATION = "1.2.840.10008.1.1"
Answer = Callable[[str, Association], int | Dataset]
"""From an instance's UID and the association that brought it to a status."""


@dataclass
class StoringPeer:
    """Answers on a free port while the ``with`` block lasts."""

    contexts: Sequence[tuple[str, str]] = ((CT, EXPLICIT), (VERIFICATION, "1.2.840.10008.1.2"))
    answer: Answer = lambda _uid, _association: 0x0000
    entity: AE = field(default_factory=lambda: AE(ae_title="PACS"))
    received: dict[str, bytes] = field(default_factory=dict)
    associations: int = 0

    def __enter__(self) -> Self:
        # A peer takes what it was told to; the node under test takes everything.
        _config.UNRESTRICTED_STORAGE_SERVICE = False
        for sop_class_uid, transfer_syntax_uid in self.contexts:
            self.entity.add_supported_context(sop_class_uid, transfer_syntax_uid)
        server = self.entity.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[
                (evt.EVT_ESTABLISHED, self._on_established),
                (evt.EVT_C_STORE, self._on_store),
            ],
        )
        assert isinstance(server, ThreadedAssociationServer)
        self._port = int(server.server_address[1])
        return self

    def __exit__(self, *_: object) -> None:
        self.entity.shutdown()

    @property
    def node(self) -> DimseNode:
        """The peer as the settings name it."""
        return DimseNode(kind="dimse", ae_title="PACS", host="127.0.0.1", port=self._port)

    def _on_established(self, _: Event) -> None:
        self.associations += 1

    def _on_store(self, event: Event) -> int | Dataset:
        request = cast(C_STORE, event.request)
        uid = str(request.AffectedSOPInstanceUID)
        answer = self.answer(uid, event.assoc)
        if answer == 0x0000:
            self.received[uid] = cast(BytesIO, request.DataSet).getvalue()
        return answer
