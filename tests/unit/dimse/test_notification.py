"""A storage commitment report brought to the requestor's own port."""

import pytest

from gateway.dimse.notification import notify
from gateway.errors import PeerRefused, PeerUnavailable
from gateway.settings import DimseNode
from gateway.store.commitments import CommitmentResult
from gateway.store.verification import FailureReason, Reference
from tests.peers.modality import Modality
from tests.peers.processes import free_port
from tests.unit.dimse.peer import StoringPeer
from tests.unit.store.samples import CT

HERE = Reference(sop_class_uid=CT, sop_instance_uid="2.25.1")
# A leading zero breaks the rules of UIDs; its sender wants to read it back all the same.
MISSING = Reference(sop_class_uid=CT, sop_instance_uid="2.25.02")
RESULT = CommitmentResult(
    transaction_uid="2.25.1234",
    committed=(HERE,),
    failed=((MISSING, FailureReason.NO_SUCH_OBJECT_INSTANCE),),
)


def test_the_report_goes_out_in_the_providers_role() -> None:
    with Modality() as modality:
        notify(modality.node, "GATEWAY", RESULT)
    ((event_type, information),) = modality.reports
    assert event_type == 2
    assert information.TransactionUID == "2.25.1234"
    assert information.RetrieveAETitle == "GATEWAY"
    assert information.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.1"
    assert information.FailedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.02"
    assert information.FailedSOPSequence[0].FailureReason == 0x0112
    assert modality.called_by == ["GATEWAY"]


def test_a_report_that_is_refused_is_not_delivered() -> None:
    with Modality(status=0x0110) as modality, pytest.raises(PeerUnavailable, match="0110H"):
        notify(modality.node, "GATEWAY", RESULT)


def test_a_peer_that_is_away_is_told() -> None:
    node = DimseNode(kind="dimse", ae_title="CT1", host="127.0.0.1", port=free_port())
    with pytest.raises(PeerUnavailable, match="does not answer"):
        notify(node, "GATEWAY", RESULT)


def test_a_peer_that_takes_no_reports_is_told() -> None:
    with StoringPeer() as peer, pytest.raises(PeerRefused, match="accepts none of"):
        notify(peer.node, "GATEWAY", RESULT)
