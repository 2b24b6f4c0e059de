"""The storage commitment provider, Push Model (PS3.4 annex J): requests in, reports out."""

from contextlib import suppress
from io import BytesIO

import structlog
from pydicom.uid import UID
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT

from gateway.dimse.commitment_information import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    RequestRefused,
    encoded,
    event_information,
    event_type,
    read_request,
)
from gateway.dimse.responses import error_comment
from gateway.dimse.service import Exchange, Primitive
from gateway.errors import GatewayError, PeerUnavailable, StoreUnavailable
from gateway.settings import Settings
from gateway.store import NodeStore
from gateway.store.commitments import Commitment, CommitmentIndex, CommitmentResult, Commitments
from gateway.store.completion import CompletionIndex
from gateway.store.verification import FailureReason, Reference, Verifier

_SUCCESS = 0x0000
_PROCESSING_FAILURE = 0x0110
_REPORT_MESSAGE_ID = 1
_REPORT_SECONDS = 30.0

_log = structlog.get_logger()


class CommitmentService:
    """Accepts requests for storage commitment, and reports on the same association at once.

    Where the peer does not wait for the report, the worker brings it to the peer's own port.
    """

    sop_classes = (PUSH_MODEL,)

    def __init__(self, store: NodeStore, settings: Settings) -> None:
        self._index = CommitmentIndex(store.database)
        self._commitments = Commitments(
            Verifier(store.instances, store.objects), CompletionIndex(store.database)
        )
        self._ae_title = settings.node.ae_title

    def serve(self, exchange: Exchange, request: Primitive) -> None:
        """Answer an N-ACTION request, then report with N-EVENT-REPORT.

        Raises:
            PeerUnavailable: the association ended before the request was answered.
        """
        try:
            transaction_uid, references = read_request(request, exchange.context)
            commitment = self._index.enter(
                transaction_uid=transaction_uid,
                calling_ae=exchange.peer.calling_ae,
                called_ae=exchange.peer.called_ae,
                host=exchange.peer.host,
                requested=references,
            )
        except RequestRefused as error:
            self._refuse(exchange, request, error.status, str(error))
        except GatewayError as error:
            self._refuse(exchange, request, _PROCESSING_FAILURE, str(error))
        else:
            exchange.respond(_response(request, _SUCCESS))
            if commitment is None:
                self._report_duplicate(exchange, transaction_uid, references)
            else:
                self._report(exchange, commitment)

    def _refuse(self, exchange: Exchange, request: Primitive, status: int, reason: str) -> None:
        _log.warning(
            "commitment_refused",
            calling_ae=exchange.peer.calling_ae,
            status=f"{status:04X}H",
            reason=reason,
        )
        exchange.respond(_response(request, status, reason))

    def _report(self, exchange: Exchange, commitment: Commitment) -> None:
        try:
            result = self._commitments.result(commitment)
            self._send(exchange, result)
            self._index.reported(commitment)
        except GatewayError as error:
            _log.info("commitment_report_postponed", **context_of(commitment), reason=str(error))
            # An index that takes nothing now lets the report be taken up again by itself.
            with suppress(StoreUnavailable):
                self._index.postponed(commitment, 0, str(error))
        else:
            log_report(commitment, result)

    def _report_duplicate(
        self, exchange: Exchange, transaction_uid: str, references: tuple[Reference, ...]
    ) -> None:
        """Tell that the Transaction UID is in use; the first request's report is still to come."""
        reason = FailureReason.DUPLICATE_TRANSACTION_UID
        result = CommitmentResult(
            transaction_uid=transaction_uid,
            committed=(),
            failed=tuple((one, reason) for one in sorted(set(references))),
        )
        _log.warning(
            "commitment_transaction_in_use",
            calling_ae=exchange.peer.calling_ae,
            transaction_uid=transaction_uid,
        )
        try:
            self._send(exchange, result)
        except PeerUnavailable as error:
            _log.warning("commitment_report_dropped", reason=str(error))

    def _send(self, exchange: Exchange, result: CommitmentResult) -> None:
        """Report on the request's own association, on which the provider's role is ours."""
        report = N_EVENT_REPORT()
        report.MessageID = _REPORT_MESSAGE_ID
        report.AffectedSOPClassUID = UID(PUSH_MODEL)
        report.AffectedSOPInstanceUID = UID(PUSH_MODEL_INSTANCE)
        report.EventTypeID = event_type(result)
        information = event_information(result, self._ae_title)
        report.EventInformation = BytesIO(encoded(information, exchange.context))
        require_accepted(exchange.request(report, _REPORT_SECONDS).Status)


def require_accepted(status: int | None) -> None:
    """Take a report for delivered only where the peer says that it took it.

    Raises:
        PeerUnavailable: the peer gave another status.
    """
    if status != _SUCCESS and (status is None or status & 0xF000 != 0xB000):
        answer = "nothing" if status is None else f"{status:04X}H"
        raise PeerUnavailable(f"the peer answered {answer} to the report")


def context_of(commitment: Commitment) -> dict[str, str]:
    """Return what a log line says of a request."""
    return {
        "calling_ae": commitment.calling_ae,
        "transaction_uid": commitment.transaction_uid,
    }


def log_report(commitment: Commitment, result: CommitmentResult) -> None:
    """Log that a requestor has its report."""
    log = _log.warning if result.failed else _log.info
    log(
        "commitment_reported",
        **context_of(commitment),
        committed=len(result.committed),
        failed=len(result.failed),
    )


def _response(request: Primitive, status: int, comment: str = "") -> Primitive:
    response = type(request)()
    response.MessageIDBeingRespondedTo = request.MessageID
    response.Status = status
    if isinstance(request, N_ACTION):
        response.AffectedSOPClassUID = UID(PUSH_MODEL)
        response.AffectedSOPInstanceUID = UID(PUSH_MODEL_INSTANCE)
        response.ActionTypeID = request.ActionTypeID
    if comment:
        response.ErrorComment = error_comment(comment)
    return response
