"""The body of a STOW-RS request: what goes out is what was signed."""

import asyncio
import hashlib
from email import message_from_bytes

from gateway.healthimaging.store_body import StoreBody
from tests.unit.healthimaging.samples import outgoing

CONTENTS = [b"first\r\n--", bytes(3_000_000), b""]


def test_the_body_is_a_multipart_of_the_files_as_they_are() -> None:
    body = StoreBody([outgoing(number, content) for number, content in enumerate(CONTENTS)])

    sent = b"".join(body.chunks())

    message = message_from_bytes(b"Content-Type: " + body.content_type.encode() + b"\r\n" + sent)
    assert message.get_content_type() == "multipart/related"
    assert message.get_param("type") == "application/dicom"
    boundary = f"\r\n--{message.get_boundary()}".encode()
    preamble, *parts, epilogue = sent.split(boundary)
    assert (preamble, epilogue) == (b"", b"--\r\n")
    head = b"\r\nContent-Type: application/dicom\r\n\r\n"
    assert parts == [head + content for content in CONTENTS]


def test_length_and_digest_are_those_of_the_body_whenever_it_is_sent() -> None:
    body = StoreBody([outgoing(number, content) for number, content in enumerate(CONTENTS)])

    async def streamed() -> bytes:
        return b"".join([chunk async for chunk in body.stream()])

    for sent in (asyncio.run(streamed()), asyncio.run(streamed())):
        assert len(sent) == body.size_bytes
        assert hashlib.sha256(sent).hexdigest() == body.sha256()
