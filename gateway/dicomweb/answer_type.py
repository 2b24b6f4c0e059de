"""The media type of an answer, as a request asks for it."""

from collections.abc import Sequence

from aiohttp import web

from gateway.dicomweb.media_type import negotiated


def answer_type(request: web.Request, offered: Sequence[str]) -> str:
    """Return the media type of the answer; the query parameter comes first (PS3.18 8.3.3.1).

    Raises:
        web.HTTPNotAcceptable: the client takes none of those offered.
    """
    accept = request.query.get("accept") or ", ".join(request.headers.getall("Accept", []))
    media_type = negotiated(accept, offered)
    if media_type is None:
        raise web.HTTPNotAcceptable(
            text=f"the answer is {' or '.join(offered)}: accept one of them\n"
        )
    return media_type
