"""Signature Version 4, checked as the service does: recomputed from what came.

Source: AWS General Reference, "Create a signed AWS API request".
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from gateway.testing.healthimaging.errors import (
    AccessDeniedError,
    ExpiredTokenError,
    SignatureError,
    UnknownKeyError,
    ValidationError,
)

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "medical-imaging"
UNCHUNKED_STREAM = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
"""What STOW-RS clients may sign in the place of a digest; the body is then not checked."""
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=(?P<key>[^/,\s]+)/(?P<date>\d{{8}})/(?P<region>[^/,\s]+)"
    r"/(?P<service>[^/,\s]+)/aws4_request, *SignedHeaders=(?P<headers>[^,\s]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = "%Y%m%dT%H%M%SZ"
_UNRESERVED = "-_.~"


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """What a caller signs with; with ``session_token`` they are temporary."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    expires_at: float | None = None
    """Seconds since 1970 after which the session token is refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedRequest:
    """The part of an HTTP request that its signature covers, as it came."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    """By name in lower case."""
    payload: str
    """What stands for the body: its SHA-256, or what the client says in the place of it."""


def claimed_payload(headers: Mapping[str, str]) -> str | None:
    """Return what a request says of its body in ``x-amz-content-sha256``; None without it.

    Raises:
        ValidationError: it is neither a digest nor a word that the service takes.
    """
    claimed = headers.get("x-amz-content-sha256")
    if claimed is None or _DIGEST.fullmatch(claimed) or claimed == UNCHUNKED_STREAM:
        return claimed
    raise ValidationError(f"x-amz-content-sha256 must be the SHA-256 of the body, not {claimed}")


def require_payload(claimed: str, digest: str) -> None:
    """Refuse a body that is not the one which was signed.

    Raises:
        SignatureError: its digest is another one.
    """
    if claimed not in (digest, UNCHUNKED_STREAM):
        raise SignatureError("the body does not have the digest that x-amz-content-sha256 gives")


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureCheck:
    """Knows who may call, and tells whether they signed."""

    credentials: Mapping[str, Credentials]
    """By access key."""
    region: str
    clock_skew_seconds: float

    def require(self, request: SignedRequest, now: float) -> None:
        """Let a request pass that is signed right; ``now`` is in seconds since 1970.

        Raises:
            AccessDeniedError: it is not signed.
            UnknownKeyError: nobody has its access key.
            ExpiredTokenError: its session has ended.
            SignatureError: it is signed too long ago or ahead, for another region or service, or
                wrongly.
        """
        scope = _AUTHORIZATION.fullmatch(request.headers.get("authorization", "").strip())
        if scope is None:
            raise AccessDeniedError("the request has no Authorization of Signature Version 4")
        known = self.credentials.get(scope["key"])
        if known is None:
            raise UnknownKeyError("The security token included in the request is invalid.")
        _require_session(known, request.headers.get("x-amz-security-token"), now)
        self._require_scope(scope)
        moment = request.headers.get("x-amz-date", "")
        self._require_time(moment, scope["date"], now)
        expected = _signature(known, scope, moment, _canonical(request, scope["headers"]))
        if not hmac.compare_digest(expected, scope["signature"]):
            raise SignatureError(
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method."
            )

    def _require_scope(self, scope: re.Match[str]) -> None:
        if scope["region"] != self.region:
            raise SignatureError(
                f"Credential should be scoped to a valid region, not '{scope['region']}'."
            )
        if scope["service"] != SERVICE:
            raise SignatureError(
                f"Credential should be scoped to correct service: '{SERVICE}', "
                f"not '{scope['service']}'."
            )
        signed = set(scope["headers"].split(";"))
        if "host" not in signed or "x-amz-date" not in signed:
            raise SignatureError("'host' and 'x-amz-date' must be signed headers.")

    def _require_time(self, moment: str, date: str, now: float) -> None:
        try:
            signed_at = datetime.strptime(moment, _TIME).replace(tzinfo=UTC).timestamp()
        except ValueError as error:
            raise SignatureError("x-amz-date is no time of the form YYYYMMDDTHHMMSSZ") from error
        if not moment.startswith(date):
            raise SignatureError("the date of the Credential is not that of x-amz-date")
        if now - signed_at > self.clock_skew_seconds:
            raise SignatureError(f"Signature expired: {moment} is too long ago.")
        if signed_at - now > self.clock_skew_seconds:
            raise SignatureError(f"Signature not yet current: {moment} is still to come.")


def _require_session(known: Credentials, token: str | None, now: float) -> None:
    if token != known.session_token:
        raise UnknownKeyError("The security token included in the request is invalid.")
    if known.expires_at is not None and now >= known.expires_at:
        raise ExpiredTokenError("The security token included in the request is expired")


def _canonical(request: SignedRequest, signed_headers: str) -> str:
    path, _, query = request.target.partition("?")
    names = signed_headers.split(";")
    headers = "".join(f"{name}:{_folded(request.headers.get(name, ''))}\n" for name in names)
    # Every service but S3 has the path, which is encoded already, encoded once more.
    return "\n".join(
        (
            request.method,
            quote(path or "/", safe=f"/{_UNRESERVED}"),
            _canonical_query(query),
            headers,
            signed_headers,
            request.payload,
        )
    )


def _canonical_query(query: str) -> str:
    pairs = (part.partition("=") for part in query.split("&") if part)
    encoded = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _encoded(text: str) -> str:
    return quote(unquote(text), safe=_UNRESERVED)


def _folded(value: str) -> str:
    return " ".join(value.split())


def _signature(known: Credentials, scope: re.Match[str], moment: str, canonical: str) -> str:
    date, region, service = scope["date"], scope["region"], scope["service"]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((ALGORITHM, moment, f"{date}/{region}/{service}/aws4_request", digest))
    key = f"AWS4{known.secret_access_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
