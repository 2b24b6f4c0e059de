"""Who may open an association, and how a refusal is told."""

import ipaddress
import socket
import threading
import time

import structlog

from gateway.dimse.negotiation import rejection
from gateway.dimse.service import Peer
from gateway.settings import AllowedPeer, DimseSettings
from gateway.store import Counters

_log = structlog.get_logger()
_LOG_SECONDS = 60.0
_MOST_REMEMBERED = 1000
_PERMANENT, _TRANSIENT = 0x01, 0x02
_SERVICE_USER, _PRESENTATION_PROVIDER = 0x01, 0x03
_CALLING_AE_NOT_RECOGNISED, _CALLED_AE_NOT_RECOGNISED, _LOCAL_LIMIT = 0x03, 0x07, 0x02


class Admission:
    """Lets peers in by AE title and host; counts what it turns away, and logs it sparingly."""

    def __init__(self, settings: DimseSettings, counters: Counters) -> None:
        self._settings = settings
        self._counters = counters
        self._last_logged: dict[str, float] = {}
        self._lock = threading.Lock()

    def refusal(self, peer: Peer) -> bytes | None:
        """Return the A-ASSOCIATE-RJ for a peer that is not let in, or nothing."""
        if not self._is_allowed(peer):
            self._refused(peer, "add the peer to dimse.allow if it should be let in")
            return rejection(_PERMANENT, _SERVICE_USER, _CALLING_AE_NOT_RECOGNISED)
        called = self._settings.called_ae_titles
        if called and peer.called_ae not in called:
            self._refused(peer, "the peer calls another AE title; see dimse.called_ae_titles")
            return rejection(_PERMANENT, _SERVICE_USER, _CALLED_AE_NOT_RECOGNISED)
        return None

    def too_many(self, peer: Peer, reason: str) -> bytes:
        """Return the A-ASSOCIATE-RJ for one association more than there may be."""
        self._refused(peer, reason)
        return rejection(_TRANSIENT, _PRESENTATION_PROVIDER, _LOCAL_LIMIT)

    def violated(self, host: str, reason: str) -> None:
        """Count and log a connection that was ended because it broke the protocol."""
        self._counters.add("protocol_violations")
        if self._is_due(f"protocol {host}"):
            _log.warning("connection_aborted", host=host, reason=reason)

    def _is_allowed(self, peer: Peer) -> bool:
        allow = self._settings.allow
        return not allow or any(
            one.ae_title == peer.calling_ae and _comes_from(one, peer.host) for one in allow
        )

    def _refused(self, peer: Peer, action: str) -> None:
        self._counters.add("rejected_associations")
        if self._is_due(f"{peer.calling_ae}@{peer.host}"):
            _log.warning(
                "association_rejected",
                calling_ae=peer.calling_ae,
                called_ae=peer.called_ae,
                host=peer.host,
                action=action,
            )

    def _is_due(self, key: str) -> bool:
        """Tell whether to log: once a minute and peer, as a misconfigured one tries for ever."""
        now = time.monotonic()
        with self._lock:
            if now - self._last_logged.get(key, -_LOG_SECONDS) < _LOG_SECONDS:
                return False
            if len(self._last_logged) >= _MOST_REMEMBERED:
                self._last_logged.clear()
            self._last_logged[key] = now
        return True


def _comes_from(allowed: AllowedPeer, host: str) -> bool:
    """Tell whether a host is the allowed address, in the allowed network, or of that name."""
    if allowed.host in (None, host):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(str(allowed.host), strict=False)
    except ValueError:
        return host in _addresses(str(allowed.host))


def _addresses(name: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()
