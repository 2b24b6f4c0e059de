"""What AWS answers instead of doing as asked, as errors of the gateway: what to do, retry or not.

AWS HealthImaging API Reference, "Common errors" and the errors of each action.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from gateway.errors import (
    AccessRefused,
    GatewayError,
    NotFound,
    PeerBusy,
    PeerRefused,
    PeerUnavailable,
)
from gateway.healthimaging.data_store import DataStore

_LONGEST_MESSAGE = 300
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN_CREDENTIALS = frozenset(
    {
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_SOON = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_SLOWER = frozenset({429, 503})


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer of AWS that is an error: HTTP status, the error's name, and its message."""

    status: int
    error: str = ""
    message: str = ""

    @classmethod
    def read(cls, status: int, headers: Mapping[str, str], body: bytes) -> Self:
        """Read the name and the message of an error (AWS JSON protocols)."""
        said = _json(body)
        name = headers.get("x-amzn-ErrorType") or said.get("__type") or said.get("code") or ""
        message = said.get("message") or said.get("Message") or ""
        return cls(
            status=status,
            error=str(name).partition(":")[0].rpartition("#")[2],
            message=" ".join(str(message).split())[:_LONGEST_MESSAGE],
        )

    @property
    def passes_soon(self) -> bool:
        """Whether the same request may be answered within seconds or minutes."""
        return self.status in _SOON

    @property
    def asks_to_slow_down(self) -> bool:
        """Whether all requests to the data store should pause, and not this one alone."""
        return self.status in _SLOWER

    @property
    def doubts_credentials(self) -> bool:
        """Whether credentials found anew may be accepted."""
        return self.error in _EXPIRED | _UNKNOWN_CREDENTIALS

    def without(self, confidential: Collection[str]) -> "Reply":
        """Return the reply with its message cut where it repeats what no log may hold."""
        message = self.message
        if any(word and word in message for word in confidential):
            message = ""
        return Reply(status=self.status, error=self.error, message=message)

    def __str__(self) -> str:
        words = " ".join(word for word in (f"HTTP {self.status}", self.error) if word)
        return f"{words}: {self.message}" if self.message else words


def refusal(reply: Reply, data_store: DataStore, subject: str) -> GatewayError:
    """Return the error for a reply: ``subject`` is what was asked for, as ``image set 0f1e...``.

    AccessRefused, NotFound and PeerRefused need a person; PeerBusy and PeerUnavailable pass.
    """
    said = f"{subject}: {data_store} answered {reply}"
    setting = data_store.setting
    match reply.status:
        case 401 | 403:
            return _access(reply, said, data_store)
        case 404:
            where = f"{setting('datastore_id')} and {setting('region')}"
            return NotFound(f"{said}; check {where}, and whether it still exists")
        case 402:
            return PeerBusy(f"{said}; a quota of the account is used up, it is tried again later")
        case 409:
            return PeerBusy(f"{said}; it is locked or still being processed")
        case 429:
            return PeerBusy(f"{said}; more requests than the account may make")
        case 424:
            advice = f"check the authorizer and the roles of {setting('datastore_id')}"
            return AccessRefused(f"{said}; {advice}")
        case 301 | 302 | 307 | 308:
            return PeerRefused(f"{said}; check {setting('region')} and {setting('endpoint_url')}")
        case status if status == 408 or status >= 500:
            return PeerUnavailable(said)
    return PeerRefused(said)


def unreachable(error: BaseException, data_store: DataStore, address: str) -> PeerUnavailable:
    """Return the error for a connection that was not made, broke, or was silent too long."""
    kind = "no answer in time" if isinstance(error, TimeoutError) else str(error)
    check = data_store.setting("endpoint_url" if data_store.endpoint_url else "region")
    return PeerUnavailable(
        f"{data_store} cannot be reached at {address} ({kind or type(error).__name__}); check "
        f"{check}, the network and HTTPS_PROXY"
    )


def _access(reply: Reply, said: str, data_store: DataStore) -> GatewayError:
    """Return the error for 403: what ends by itself when credentials are renewed may wait."""
    if reply.error in _EXPIRED:
        return PeerUnavailable(
            f"{said}; the credentials have ended: renew AWS_SESSION_TOKEN or the profile's"
        )
    if "signature expired" in reply.message.lower() or reply.error == "RequestTimeTooSkewed":
        return PeerUnavailable(f"{said}; set the clock of this machine")
    region = data_store.setting("region")
    if "region" in reply.message.lower():
        return AccessRefused(f"{said}; check {region}")
    if reply.error in _UNKNOWN_CREDENTIALS:
        advice = f"check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile, and {region}"
        return AccessRefused(f"{said}; {advice}")
    rights = "may act on this data store (medical-imaging:*)"
    role = data_store.setting("role_arn")
    return AccessRefused(
        f"{said}; check that the credentials {rights}, {data_store.setting('datastore_id')}, and "
        f"for imports that {role} may be passed (iam:PassRole)"
    )


def _json(body: bytes) -> Mapping[str, object]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
