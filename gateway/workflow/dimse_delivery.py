"""Sending instances by C-STORE and noting, instance by instance, what was answered."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.dimse.user import SendOutcome, SendResult, send
from gateway.settings import DimseNode
from gateway.store import Instance, Job, JobState
from gateway.workflow.attempt import Attempt
from gateway.workflow.outbound import Outbound

_MOST_REASONS = 3


class DimseDelivery:
    """How instances get to a node that speaks DIMSE."""

    def __init__(self, outbound: Outbound, node: DimseNode, ae_title: str) -> None:
        self._outbound = outbound
        self._node = node
        self._ae_title = ae_title

    def attempt(self, job: Job, instances: Sequence[Instance]) -> Attempt:
        """Send what the node has not confirmed yet, in the job's form.

        Results name instances as they are kept.

        Raises:
            PeerUnavailable: the node does not answer.
            PeerRefused: the node will not talk to this one.
            DeidentificationRefused, PseudonymUnknown, KeyUnusable: as `Outbound.prepared`.
        """
        missing = [one for one in instances if one.sop_instance_uid not in job.results]
        with self._outbound.prepared(job, missing) as prepared:
            kept_as = {one.sop_instance_uid: uid for uid, one in prepared.instances.items()}
            sent = send(self._node, self._ae_title, list(prepared.instances.values()))
        named = [replace(one, sop_instance_uid=kept_as[one.sop_instance_uid]) for one in sent]
        return summary(job.results, named, total=len(instances))


def summary(confirmed: Sequence[str], sent: Sequence[SendResult], *, total: int) -> Attempt:
    """Turn per-instance results into the state of a job.

    An instance that the peer refuses never holds back the others; one that it may take later
    keeps the job waiting.
    """
    stored = [one.sop_instance_uid for one in sent if one.outcome is SendOutcome.STORED]
    failed = [one for one in sent if one.outcome is not SendOutcome.STORED]
    results = (*confirmed, *stored)
    if not failed:
        return Attempt(state=JobState.DONE, results=results)
    is_busy = any(one.outcome is SendOutcome.BUSY for one in failed)
    reasons = list(dict.fromkeys(one.detail for one in failed))
    more = f" and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
    return Attempt(
        state=JobState.WAITING if is_busy else JobState.DEAD,
        error=f"{len(results)} of {total} delivered: {'; '.join(reasons[:_MOST_REASONS])}{more}",
        results=results,
    )
