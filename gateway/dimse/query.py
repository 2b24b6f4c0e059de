"""The query provider: C-FIND over what the node holds (PS3.4 section C.4.1)."""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType

import structlog
from pynetdicom.dimse_primitives import C_FIND

from gateway.dicom.identifier import write_identifier
from gateway.dicom.query import (
    INSTANCE_AVAILABILITY,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    Query,
    Root,
    query_of,
)
from gateway.dimse.responses import (
    CANCELLED,
    PENDING,
    SUCCESS,
    identifier_of,
    require_kind,
    response_to,
)
from gateway.dimse.service import Exchange, Primitive
from gateway.errors import GatewayError, PeerUnavailable, ProtocolViolated
from gateway.settings import Settings
from gateway.store import NodeStore
from gateway.store.queries import Found, QueryIndex

_log = structlog.get_logger()

_ROOTS: Mapping[str, Root] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.2.1.1": Root.PATIENT,
        "1.2.840.10008.5.1.4.1.2.2.1": Root.STUDY,
    }
)
"""Query/Retrieve Information Models - FIND (PS3.4 section C.6)."""
_OUT_OF_RESOURCES = 0xA700
_PENDING_WITH_UNSUPPORTED_KEYS = 0xFF01
_MOST_MATCHES = 10_000


class QueryService:
    """Answers C-FIND at patient root and study root.

    A query that matches more than ``most_matches`` gets that many and then A700H, so that
    nobody takes a part for the whole.
    """

    sop_classes = tuple(_ROOTS)

    def __init__(
        self, store: NodeStore, settings: Settings, *, most_matches: int = _MOST_MATCHES
    ) -> None:
        self._index = QueryIndex(store.database)
        self._ae_title = settings.node.ae_title
        self._most_matches = most_matches

    def serve(self, exchange: Exchange, request: Primitive) -> None:
        """Answer a C-FIND request: a pending response for each match, then the final one.

        Raises:
            PeerUnavailable: the association has ended.
            ProtocolViolated: the request, or what the peer sent meanwhile, makes no sense.
        """
        require_kind(request, C_FIND)
        try:
            root = _ROOTS[exchange.context.abstract_syntax]
            query = query_of(identifier_of(exchange, request), root)
            status, reason = self._send_matches(exchange, request, query)
        except (PeerUnavailable, ProtocolViolated):
            raise
        except GatewayError as error:
            status, reason = error.dimse_status, str(error)
        if status not in (SUCCESS, CANCELLED):
            _log.warning(
                "query_refused",
                calling_ae=exchange.peer.calling_ae,
                status=f"{status:04X}H",
                reason=reason,
            )
        exchange.respond(response_to(request, status, reason))

    def _send_matches(
        self, exchange: Exchange, request: Primitive, query: Query
    ) -> tuple[int, str]:
        """Send what is found; return the final status and its reason."""
        pending = PENDING if query.is_fully_supported else _PENDING_WITH_UNSUPPORTED_KEYS
        for number, found in enumerate(self._index.find(query)):
            if exchange.is_cancelled():
                return CANCELLED, ""
            if number == self._most_matches:
                return _OUT_OF_RESOURCES, f"more than {number} matches; ask for less"
            response = response_to(request, pending)
            response.Identifier = BytesIO(
                write_identifier(self._values(query, found), exchange.context.transfer_syntax)
            )
            exchange.respond(response)
        return SUCCESS, ""

    def _values(self, query: Query, found: Found) -> dict[int, str]:
        """Return a response identifier's values (PS3.4 section C.4.1.1.3.2)."""
        values = dict.fromkeys(query.unsupported, "")
        values |= {tag: found.get(name, "") for tag, name in query.returned.items()}
        values |= {QUERY_RETRIEVE_LEVEL: query.level.value, RETRIEVE_AE_TITLE: self._ae_title}
        if query.asks_availability:
            values[INSTANCE_AVAILABILITY] = "ONLINE"
        return values
