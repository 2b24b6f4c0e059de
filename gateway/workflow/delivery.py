"""Sending instances to a node and noting, instance by instance, what it answered."""

from collections.abc import Mapping, Sequence

from gateway.dimse.user import Outgoing, SendOutcome, SendResult, send
from gateway.errors import NotFound, PeerRefused
from gateway.settings import DimseNode, Node
from gateway.store import Instance, Job, JobAction, JobState, NodeStore
from gateway.workflow.attempt import Attempt

_MOST_REASONS = 3


class Deliverer:
    """Carries out ``deliver`` and ``forward`` jobs."""

    def __init__(self, store: NodeStore, nodes: Mapping[str, Node], ae_title: str) -> None:
        self._store = store
        self._nodes = nodes
        self._ae_title = ae_title

    def attempt(self, job: Job) -> Attempt:
        """Send what the job's node has not confirmed yet.

        Raises:
            PeerUnavailable: the node does not answer.
            PeerRefused: the node will not talk to this one, or is not one to send to.
            NotFound: there is nothing to send.
        """
        wanted = self._wanted(job)
        if not wanted:
            raise NotFound(f"what job {job.id} is to send is no longer kept here")
        missing = [one for one in wanted if one.sop_instance_uid not in job.results]
        sent = self._send(job.node or "", missing)
        return summary(job.results, sent, total=len(wanted))

    def _wanted(self, job: Job) -> tuple[Instance, ...]:
        if job.action is JobAction.FORWARD:
            instances = self._store.instances.of_series(job.series_instance_uid)
            return tuple(instance for instance in instances if instance.current)
        parent = self._store.jobs.get(job.parent_id or "")
        results = (self._store.instances.current(uid) for uid in parent.results)
        return tuple(instance for instance in results if instance is not None)

    def _send(self, node_name: str, instances: Sequence[Instance]) -> tuple[SendResult, ...]:
        node = self._nodes.get(node_name)
        if node is None:
            raise PeerRefused(f"node {node_name!r} is no longer in the settings")
        if not isinstance(node, DimseNode):
            raise PeerRefused(
                f"node {node_name!r} is of kind {node.kind}, which this version cannot send to"
            )
        return send(node, self._ae_title, [self._outgoing(instance) for instance in instances])

    def _outgoing(self, instance: Instance) -> Outgoing:
        return Outgoing(
            path=self._store.objects.path(instance.object_key),
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
        )


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
