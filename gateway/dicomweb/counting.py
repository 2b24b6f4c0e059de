"""Asking a peer by QIDO-RS how many instances it has of a series (PS3.18 section 10.6)."""

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from gateway.errors import PeerRefused, PeerUnavailable
from gateway.settings import DicomwebNode

_CONNECT_SECONDS = 5.0
_RESPONSE_SECONDS = 10.0
_LARGEST_ANSWER_BYTES = 1 << 20
_READ_BYTES = 1 << 16
_SERIES_INSTANCE_UID = "0020000E"
_NUMBER_OF_SERIES_RELATED_INSTANCES = "00201209"
_FOUND, _NOTHING_FOUND = 200, 204


def count_series(
    node: DicomwebNode, series: tuple[tuple[str, str], ...]
) -> Iterator[tuple[str, int | None]]:
    """Ask a peer to count series, given as (Study, Series Instance UID), on one connection each.

    Gives (Series Instance UID, number) as the answers come; None for a series that the peer does
    not have or does not count.

    Raises:
        PeerUnavailable: the peer does not answer, or not within 10 s.
        PeerRefused: the peer refuses the query, or its answer is no DICOM JSON.
    """
    for _, series_instance_uid in series:
        yield series_instance_uid, _number(_answer(node, series_instance_uid), series_instance_uid)


def _answer(node: DicomwebNode, series_instance_uid: str) -> Any:
    query = urlencode(
        {
            "SeriesInstanceUID": series_instance_uid,
            "includefield": _NUMBER_OF_SERIES_RELATED_INSTANCES,
        }
    )
    try:
        status, body = _fetched(node, f"/series?{query}")
    except (OSError, HTTPException, ValueError) as error:
        raise PeerUnavailable(f"{node.url} does not answer: {error}") from error
    if status == _NOTHING_FOUND:
        return []
    if status != _FOUND:
        kind = PeerUnavailable if status >= 500 else PeerRefused
        raise kind(f"{node.url} answered a query for a series with HTTP {status}")
    try:
        return json.loads(body)
    except ValueError as error:
        raise PeerRefused(f"{node.url} answered a query with something else than JSON") from error


def _fetched(node: DicomwebNode, resource: str) -> tuple[int, bytes]:
    """GET a resource below the node's address, within a time and a size."""
    address = urlsplit(node.url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=_CONNECT_SECONDS)
    deadline = time.monotonic() + _RESPONSE_SECONDS
    try:
        connection.request("GET", address.path.rstrip("/") + resource, headers=_headers(node))
        response = connection.getresponse()
        body = b""
        while part := response.read1(_READ_BYTES):
            body += part
            if len(body) > _LARGEST_ANSWER_BYTES:
                raise PeerRefused(f"{node.url} answered with more than a count needs")
            if time.monotonic() > deadline:
                raise TimeoutError("the answer took too long")
        return response.status, body
    finally:
        connection.close()


def _headers(node: DicomwebNode) -> dict[str, str]:
    headers = {"Accept": "application/dicom+json"}
    if node.token_file is not None:
        headers["Authorization"] = f"Bearer {node.token_file.read_text().strip()}"
    return headers


def _number(answer: Any, series_instance_uid: str) -> int | None:
    """Return the count of the one series in an answer, where it holds one (PS3.18 annex F)."""
    matches = answer if isinstance(answer, list) else []
    for match in matches:
        if _value(match, _SERIES_INSTANCE_UID) == series_instance_uid:
            number = str(_value(match, _NUMBER_OF_SERIES_RELATED_INSTANCES))
            return int(number) if number.isdecimal() and int(number) > 0 else None
    return None


def _value(match: Any, tag: str) -> Any:
    """Return the first value of an attribute, or nothing."""
    element = match.get(tag) if isinstance(match, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None
