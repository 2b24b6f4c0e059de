"""Parts that are sent by STOW-RS, against a server that answers as a script says."""

import asyncio
import json
from dataclasses import replace

import pytest

from gateway.errors import PeerBusy, PeerRefused, PeerUnavailable
from gateway.healthimaging.outcomes import InstanceOutcome, Outcome
from gateway.healthimaging.outgoing import Outgoing
from gateway.healthimaging.retries import Retries
from gateway.healthimaging.session import Session
from gateway.healthimaging.storing import StoreRequests
from tests.unit.healthimaging.samples import outgoing
from tests.unit.healthimaging.scripted import Asked, Says, scripted

QUICK = Retries(first_seconds=0.01, longest_seconds=0.02, give_up_seconds=0.5)
ONE, TWO = outgoing(1), outgoing(2)


def answer(*stored: Outgoing, status: int = 200, failed: dict[str, int] | None = None) -> Says:
    """Answer a store request (PS3.18 table I.3-1)."""
    items = [{"00081155": {"vr": "UI", "Value": [one.sop_instance_uid]}} for one in stored]
    bad = [
        {
            "00081155": {"vr": "UI", "Value": [uid]},
            "00081197": {"vr": "US", "Value": [reason]},
        }
        for uid, reason in (failed or {}).items()
    ]
    document = {"00081199": {"vr": "SQ", "Value": items}, "00081198": {"vr": "SQ", "Value": bad}}
    return Says(status=status, body=json.dumps(document).encode())


def listing(*there: Outgoing) -> Says:
    """Answer a search for instances (PS3.18 section 10.6)."""
    matches = [{"00080018": {"vr": "UI", "Value": [one.sop_instance_uid]}} for one in there]
    return Says(body=json.dumps(matches).encode())


def sent(
    *answers: Says, parts: list[list[Outgoing]] | None = None, **more: object
) -> tuple[dict[str, InstanceOutcome], list[Asked]]:
    """Send parts to a server of these answers; return the outcomes and what it was asked."""

    async def send() -> tuple[dict[str, InstanceOutcome], list[Asked]]:
        outcomes: dict[str, InstanceOutcome] = {}

        async def answered(_: int, said: dict[str, InstanceOutcome]) -> None:
            outcomes.update(said)

        async with (
            scripted(*answers) as server,
            Session(server.data_store, retries=QUICK) as session,
        ):
            requests = StoreRequests(session, answered, retries=QUICK, **more)  # type: ignore[arg-type]
            await requests.send(parts or [[ONE, TWO]])
            return outcomes, server.asked

    return asyncio.run(send())


@pytest.mark.parametrize("status", [200, 202, 409])
def test_an_answer_is_read_whatever_its_status(status: int) -> None:
    outcomes, asked = sent(answer(ONE, status=status, failed={TWO.sop_instance_uid: 0xA900}))
    assert outcomes[ONE.sop_instance_uid].outcome is Outcome.STORED
    assert outcomes[TWO.sop_instance_uid].outcome is Outcome.REFUSED
    [request] = asked
    assert request.path.endswith("/studies")
    assert request.headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
    assert int(request.headers["Content-Length"]) == len(request.body)


def test_a_locked_data_store_is_asked_again_and_nothing_looked_for() -> None:
    locked = Says(status=409, error="ConflictException", message="locked")
    outcomes, asked = sent(locked, answer(ONE, TWO))
    assert len(outcomes) == 2
    assert [one.method for one in asked] == ["POST", "POST"]


def test_every_try_is_signed_anew() -> None:
    throttled = Says(status=429, error="ThrottlingException")
    _, asked = sent(throttled, answer(ONE, TWO))
    first, second = (one.headers for one in asked)
    assert first["Authorization"] != second["Authorization"]


def test_after_a_lost_answer_only_what_is_not_there_is_sent_again() -> None:
    lost = Says(status=500, error="InternalServerException")
    outcomes, asked = sent(lost, listing(ONE), answer(TWO))
    assert {one.outcome for one in outcomes.values()} == {Outcome.STORED}
    assert [one.method for one in asked] == ["POST", "GET", "POST"]
    assert len(asked[2].body) < len(asked[0].body)


def test_other_bytes_of_an_instance_that_is_there_are_sent_again() -> None:
    """That the instance is listed says nothing of which bytes it has."""
    lost = Says(status=500, error="InternalServerException")
    _, asked = sent(lost, listing(ONE, TWO), answer(ONE), superseding=[ONE.sop_instance_uid])
    assert [one.method for one in asked] == ["POST", "GET", "POST"]


def test_an_answer_without_a_word_about_an_instance_is_doubted() -> None:
    outcomes, asked = sent(answer(ONE), listing(ONE), answer(TWO))
    assert {one.outcome for one in outcomes.values()} == {Outcome.STORED}
    assert [one.method for one in asked] == ["POST", "GET", "POST"]


def test_one_request_that_is_refused_ends_all() -> None:
    refused = Says(status=400, error="ValidationException", message="no")
    parts = [[outgoing(number)] for number in range(50)]
    with pytest.raises(PeerRefused, match="ValidationException"):
        sent(refused, parts=parts)


@pytest.mark.parametrize(
    ("status", "error"), [(429, PeerBusy), (503, PeerUnavailable), (500, PeerUnavailable)]
)
def test_a_service_that_is_away_is_given_up_for_now(status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        sent(Says(status=status, error="SomeException"))


def test_an_instance_that_is_too_large_is_refused_before_it_is_read() -> None:
    large = replace(ONE, size_bytes=2 * 10**9)
    outcomes, asked = sent(answer(TWO), parts=[[large], [TWO]])
    assert outcomes[ONE.sop_instance_uid].outcome is Outcome.REFUSED
    assert 'upload = "import-job"' in outcomes[ONE.sop_instance_uid].detail
    assert outcomes[TWO.sop_instance_uid].outcome is Outcome.STORED
    assert len(asked) == 1
