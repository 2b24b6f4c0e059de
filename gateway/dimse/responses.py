"""What the services of queries and retrievals share: identifiers in, responses out."""

from gateway.dicom.header import printable
from gateway.dicom.identifier import Identifier, read_identifier
from gateway.dimse.service import Exchange, Primitive
from gateway.errors import ProtocolViolated

SUCCESS = 0x0000
CANCELLED = 0xFE00
PENDING = 0xFF00
_LONGEST_ERROR_COMMENT = 64


def identifier_of(exchange: Exchange, request: Primitive) -> Identifier:
    """Read a request's identifier; one that has none is empty.

    Raises:
        DataSetUnreadable: the identifier is no data set.
    """
    encoded = b"" if request.Identifier is None else request.Identifier.getvalue()
    return read_identifier(encoded, exchange.context.transfer_syntax)


def require_kind(request: Primitive, kind: type) -> None:
    """Refuse a request that has no business on its context.

    Raises:
        ProtocolViolated: it is of another kind than the context's SOP class has.
    """
    if not isinstance(request, kind):
        name = kind.__name__.replace("_", "-")
        raise ProtocolViolated(f"a request other than {name} on a context for it")


def response_to(request: Primitive, status: int, comment: str = "") -> Primitive:
    """Return a response of the request's own kind (PS3.7 section 9.1)."""
    response = type(request)()
    response.MessageIDBeingRespondedTo = request.MessageID
    response.AffectedSOPClassUID = request.AffectedSOPClassUID
    response.Status = status
    if comment:
        response.ErrorComment = error_comment(comment)
    return response


def error_comment(text: str) -> str:
    """Return a reason as (0000,0902) can hold it: LO in ASCII (PS3.5 table 6.2-1)."""
    plain = text.encode("ascii", "replace").decode("ascii").replace("\\", "/")
    return printable(plain[:_LONGEST_ERROR_COMMENT])
