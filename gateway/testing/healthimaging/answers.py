"""Answers over HTTP, and what requests bring in their JSON bodies and queries."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from aiohttp import web

from gateway.testing.healthimaging.errors import ServiceError, ValidationError
from gateway.testing.healthimaging.identifiers import require_identifier

_T = TypeVar("_T")
LARGEST_PAGE = 50


def json_answer(content: Mapping[str, Any], status: int = 200) -> web.Response:
    """Answer with an object; members that are None are left out."""
    known = {name: value for name, value in content.items() if value is not None}
    return web.json_response(known, status=status)


def error_answer(error: ServiceError) -> web.Response:
    """Answer with an error as AWS's REST protocol has it."""
    return web.json_response(
        {"message": str(error)},
        status=error.http_status,
        headers={"x-amzn-ErrorType": error.name},
    )


async def json_body(request: web.Request) -> dict[str, Any]:
    """Return the object that a request brings, an empty one where it brings nothing.

    Raises:
        ValidationError: the body is no JSON object.
    """
    content = await request.read()
    if not content:
        return {}
    try:
        body = json.loads(content)
    except ValueError as error:
        raise ValidationError("the body is no JSON") from error
    if not isinstance(body, dict):
        raise ValidationError("the body is no JSON object")
    return body


def path_identifier(request: web.Request, name: str) -> str:
    """Return an identifier that stands in the path.

    Raises:
        ValidationError: it is none.
    """
    return require_identifier(request.match_info[name], name)


def is_true(request: web.Request, name: str) -> bool:
    """Return a switch of the query, off where it is not there.

    Raises:
        ValidationError: it is neither ``true`` nor ``false``.
    """
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise ValidationError(f"{name} must be true or false")
    return text == "true"


def page(request: web.Request, items: Sequence[_T]) -> tuple[Sequence[_T], str | None]:
    """Return the part of a list that a request asks for, and the token of the next part.

    Raises:
        ValidationError: ``maxResults`` is not 1 to 50, or nobody gave out the token.
    """
    size = _page_size(request.query.get("maxResults", str(LARGEST_PAGE)))
    start = _start(request.query.get("nextToken"))
    end = start + size
    token = base64.urlsafe_b64encode(f"from {end}".encode()).decode() if end < len(items) else None
    return items[start:end], token


def _page_size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST_PAGE:
        raise ValidationError(f"maxResults must be 1 to {LARGEST_PAGE}")
    return int(text)


def _start(token: str | None) -> int:
    if token is None:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(token).decode().partition(" ")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValidationError("nextToken is none of this service's") from error
    if word != "from" or not number.isdecimal():
        raise ValidationError("nextToken is none of this service's")
    return int(number)
