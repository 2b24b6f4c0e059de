"""Bringing a storage commitment report to the requestor's own port (PS3.4 section J.3.3)."""

from pynetdicom.presentation import build_role

from gateway.dimse.commitment import require_accepted
from gateway.dimse.commitment_information import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    event_information,
    event_type,
)
from gateway.dimse.requestor import association, peer_name, requestor
from gateway.errors import PeerUnavailable
from gateway.settings import DimseNode
from gateway.store.commitments import CommitmentResult

_RESPONSE_SECONDS = 30


def notify(node: DimseNode, calling_ae: str, result: CommitmentResult) -> None:
    """Open an association, in the provider's role, and report a result on it.

    The role is negotiated as PS3.7 section D.3.3.4 says. ``calling_ae`` is the AE title that the
    requestor called, and from which the instances can be retrieved.

    Raises:
        PeerUnavailable: the peer does not answer, or did not take the report.
        PeerRefused: the peer rejects the association, or takes no reports.
    """
    entity = requestor(calling_ae, response_seconds=_RESPONSE_SECONDS)
    entity.add_requested_context(PUSH_MODEL)
    with association(entity, node, [build_role(PUSH_MODEL, scp_role=True)]) as opened:
        try:
            status, _ = opened.send_n_event_report(
                event_information(result, calling_ae),
                event_type(result),
                PUSH_MODEL,
                PUSH_MODEL_INSTANCE,
            )
        except RuntimeError as error:
            # What pynetdicom raises when the peer aborted just before the call.
            raise PeerUnavailable(f"{peer_name(node)} aborted the association") from error
    require_accepted(status.get("Status"))
