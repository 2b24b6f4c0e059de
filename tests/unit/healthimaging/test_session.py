"""Requests to a data store: signed, repeated where that helps, and refused with advice."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator

import pytest

from gateway.errors import (
    AccessRefused,
    GatewayError,
    NotFound,
    PeerBusy,
    PeerRefused,
    PeerUnavailable,
)
from gateway.healthimaging.retries import NO_RETRIES, Retries
from gateway.healthimaging.session import Answer, Request, Session
from tests.unit.healthimaging.conftest import ACCESS_KEY, SECRET_KEY, TOKEN
from tests.unit.healthimaging.scripted import Asked, Says, Scripted, data_store, errors, scripted

QUICK = Retries(first_seconds=0.01, longest_seconds=0.02, give_up_seconds=1)


def request(server: Scripted, **more: object) -> Request:
    url = server.data_store.image_set_url("f" * 32, "getImageSet", version="1", a="b c")
    return Request(url=url, subject="image set fff", **more)  # type: ignore[arg-type]


async def ask(*answers: Says, retries: Retries = QUICK, **more: object) -> tuple[Answer, int]:
    async with (
        scripted(*answers) as server,
        Session(server.data_store, retries=retries) as session,
    ):
        return await session.answer(request(server, **more)), len(server.asked)


def refused(*answers: Says, **more: object) -> str:
    with pytest.raises(GatewayError) as error:
        asyncio.run(ask(*answers, **more))  # type: ignore[arg-type]
    return str(error.value)


def signature(asked: Asked, body_sha256: str) -> str:
    """Compute a signature by the letter of the AWS reference, "Create a signed request"."""
    headers = {name.lower(): value for name, value in asked.headers.items()}
    authorization = headers["authorization"]
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    scope = authorization.partition("Credential=")[2].partition(",")[0].partition("/")[2]
    query = "&".join(sorted(asked.query.replace("+", "%20").split("&")))
    lines = [asked.method, asked.path, query]
    lines += [f"{name}:{headers[name]}" for name in names]
    canonical = "\n".join([*lines, "", ";".join(names), body_sha256])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
    key = b"AWS4" + SECRET_KEY.encode()
    for word in [*scope.split("/"), to_sign]:
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key.hex()


def test_a_request_is_signed_as_aws_describes_it() -> None:
    async def ask_once() -> Asked:
        async with scripted(Says()) as server, Session(server.data_store) as session:
            url = server.data_store.image_set_url("f" * 32, "getImageSet", b="2", a="x~y")
            await session.answer(Request(url=url, subject="it", body=b'{"a": 1}'))
            return server.asked[0]

    asked = asyncio.run(ask_once())
    body_sha256 = hashlib.sha256(b'{"a": 1}').hexdigest()
    assert f"{ACCESS_KEY}/" in asked.headers["Authorization"]
    assert "/us-east-1/medical-imaging/aws4_request" in asked.headers["Authorization"]
    assert asked.headers["X-Amz-Security-Token"] == TOKEN
    assert asked.headers["X-Amz-Content-SHA256"] == body_sha256
    assert asked.headers["Authorization"].endswith(f"Signature={signature(asked, body_sha256)}")


def test_a_streamed_body_is_made_anew_for_each_attempt_and_keeps_its_length() -> None:
    parts = [b"one", b"two"]

    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async def ask_twice() -> list[Asked]:
        answers = [*errors(500), Says()]
        async with scripted(*answers) as server, Session(server.data_store) as session:
            await session.answer(
                Request(
                    url=server.data_store.image_set_url("f" * 32, "x"),
                    subject="it",
                    body=body,
                    payload_sha256=hashlib.sha256(b"onetwo").hexdigest(),
                    headers={"Content-Length": "6"},
                ),
                QUICK,
            )
            return server.asked

    asked = asyncio.run(ask_twice())
    assert [one.body for one in asked] == [b"onetwo", b"onetwo"]
    assert {one.headers["Content-Length"] for one in asked} == {"6"}


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_what_passes_soon_is_asked_for_again(status: int) -> None:
    answer, asked = asyncio.run(ask(*errors(status, status), Says(body=b"done")))
    assert (answer.body, asked) == (b"done", 3)


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    answer, asked = asyncio.run(ask(Says(body=b"do", breaks=True), Says(body=b"done")))
    assert (answer.body, asked) == (b"done", 2)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PeerRefused),
        (402, PeerBusy),
        (403, AccessRefused),
        (404, NotFound),
        (406, PeerRefused),
        (424, AccessRefused),
        (301, PeerRefused),
    ],
)
def test_what_does_not_pass_soon_is_asked_for_once(status: int, kind: type[GatewayError]) -> None:
    async def asked() -> int:
        async with scripted(*errors(status)) as server, Session(server.data_store) as session:
            with pytest.raises(kind):
                await session.answer(request(server), QUICK)
            return len(server.asked)

    assert asyncio.run(asked()) == 1


def test_retries_end_in_time_and_the_last_refusal_is_told() -> None:
    began = time.monotonic()
    with pytest.raises(PeerBusy, match=r"image set fff.* HTTP 429 SomeException"):
        asyncio.run(ask(*errors(429), retries=Retries(first_seconds=0.1, give_up_seconds=0.4)))
    assert time.monotonic() - began < 3


def test_one_attempt_is_one_attempt() -> None:
    with pytest.raises(PeerUnavailable):
        asyncio.run(ask(*errors(500), Says(), retries=NO_RETRIES))


def test_the_pause_that_the_service_asks_for_is_kept() -> None:
    began = time.monotonic()
    asyncio.run(ask(Says(status=503, headers={"Retry-After": "1"}), Says(), retries=Retries()))
    assert time.monotonic() - began >= 1


def test_throttled_requests_do_not_storm() -> None:
    """While one request is told to slow down, the others wait too."""

    async def asked() -> int:
        answers = [Says(status=429, headers={"Retry-After": "1"}), Says()]
        async with (
            scripted(*answers) as server,
            Session(server.data_store, connections=1) as session,
        ):
            waiting = [asyncio.create_task(session.answer(request(server))) for _ in range(20)]
            await asyncio.sleep(0.5)
            so_far = len(server.asked)
            await asyncio.gather(*waiting)
            return so_far

    assert asyncio.run(asked()) == 1


@pytest.mark.parametrize(
    ("says", "advice"),
    [
        (Says(status=404, error="ResourceNotFoundException"), "nodes.cloud.datastore_id"),
        (Says(status=404, error="ResourceNotFoundException"), "nodes.cloud.region"),
        (Says(status=403, error="AccessDeniedException"), "nodes.cloud.role_arn"),
        (Says(status=403, error="ExpiredTokenException"), "AWS_SESSION_TOKEN"),
        (Says(status=403, error="UnrecognizedClientException"), "AWS_ACCESS_KEY_ID"),
        (
            Says(
                status=403,
                error="InvalidSignatureException",
                message="Credential should be scoped to a valid region",
            ),
            "nodes.cloud.region",
        ),
        (
            Says(
                status=403,
                error="InvalidSignatureException",
                message="Signature expired: 20260101T000000Z is now earlier than",
            ),
            "clock",
        ),
        (Says(status=402, error="ServiceQuotaExceededException"), "quota"),
        (Says(status=307), "nodes.cloud.endpoint_url"),
    ],
)
def test_a_refusal_names_the_setting_to_look_at(says: Says, advice: str) -> None:
    said = refused(says)
    assert advice in said
    assert "\n" not in said


def test_credentials_that_ended_pass_once_they_are_renewed() -> None:
    with pytest.raises(PeerUnavailable) as error:
        asyncio.run(ask(Says(status=403, error="ExpiredTokenException")))
    assert error.value.retry_helps


def test_a_refusal_does_not_repeat_what_no_log_may_hold() -> None:
    says = Says(status=400, error="ValidationException", message="no such patient P-4711")
    assert "P-4711" in refused(says)
    assert "P-4711" not in refused(says, confidential=("P-4711",))


def test_no_credentials_are_told_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessRefused, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        asyncio.run(ask(Says()))


def test_credentials_that_were_refused_are_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ask_twice() -> list[str]:
        answers = [Says(status=403, error="ExpiredTokenException"), Says()]
        async with scripted(*answers) as server, Session(server.data_store) as session:
            with pytest.raises(PeerUnavailable):
                await session.answer(request(server))
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDRENEWED")
            await session.answer(request(server))
            return [one.headers["Authorization"] for one in server.asked]

    before, after = asyncio.run(ask_twice())
    assert ACCESS_KEY in before
    assert "AKIDRENEWED" in after


def test_an_address_where_nobody_listens_is_named() -> None:
    async def ask_nobody() -> None:
        async with Session(data_store("http://127.0.0.1:1")) as session:
            url = session.data_store.image_set_url("f" * 32, "getImageSet")
            await session.answer(Request(url=url, subject="it"), NO_RETRIES)

    with pytest.raises(PeerUnavailable, match=r"http://127\.0\.0\.1:1 .*nodes\.cloud\.endpoint"):
        asyncio.run(ask_nobody())


def test_an_answer_that_is_too_long_is_not_kept() -> None:
    assert "more than 10 bytes" in refused(Says(body=b"x" * 1000), most_bytes=10)
