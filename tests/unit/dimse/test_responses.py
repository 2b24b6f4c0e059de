"""What responses may hold, whatever the reason is."""

import pytest
from pynetdicom.dimse_primitives import C_FIND, C_GET

from gateway.dimse.responses import error_comment, identifier_of, require_kind, response_to
from gateway.errors import ProtocolViolated
from tests.unit.dimse.memory import MemoryExchange, identifier

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"


@pytest.mark.parametrize(
    ("reason", "comment"),
    [
        ("short", "short"),
        ("Gerät\\antwortet\nnicht", "Ger?t/antwortetnicht"),
        ("x" * 100, "x" * 64),
    ],
)
def test_a_reason_becomes_an_error_comment_that_is_legal(reason: str, comment: str) -> None:
    assert error_comment(reason) == comment


def test_a_response_answers_its_request() -> None:
    request = MemoryExchange(STUDY_ROOT).request_of(C_FIND, None)
    response = response_to(request, 0xC000, "no")
    assert isinstance(response, C_FIND)
    assert (response.MessageIDBeingRespondedTo, response.Status) == (7, 0xC000)
    assert response.AffectedSOPClassUID == STUDY_ROOT
    assert str(response.ErrorComment) == "no"
    assert response_to(request, 0x0000).ErrorComment is None


def test_a_request_without_an_identifier_has_no_keys() -> None:
    exchange = MemoryExchange(STUDY_ROOT)
    asked = exchange.request_of(C_FIND, identifier("STUDY"))
    assert identifier_of(exchange, exchange.request_of(C_FIND, None)).values == {}
    assert identifier_of(exchange, asked).text(0x00080052) == "STUDY"


def test_only_requests_of_the_context_s_kind_are_served() -> None:
    request = MemoryExchange(STUDY_ROOT).request_of(C_GET, None)
    require_kind(request, C_GET)
    with pytest.raises(ProtocolViolated, match="C-FIND"):
        require_kind(request, C_FIND)
