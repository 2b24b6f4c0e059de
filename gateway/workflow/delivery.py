"""Sending instances to a node and noting, instance by instance, what it answered."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pydicom.uid import Comprehensive3DSRStorage

from gateway.dimse.user import SendOutcome, SendResult, send
from gateway.errors import NotFound, PeerRefused
from gateway.inference import taken_by
from gateway.settings import DimseNode, Node
from gateway.store import Instance, Job, JobAction, JobState, NodeStore
from gateway.workflow.attempt import Attempt
from gateway.workflow.outbound import Outbound
from gateway.workflow.segmenting import made_object, results_of

_MOST_REASONS = 3


class Deliverer:
    """Carries out ``deliver`` and ``forward`` jobs.

    ``words`` are those that descriptions keep where a job de-identifies.
    """

    def __init__(
        self,
        store: NodeStore,
        nodes: Mapping[str, Node],
        ae_title: str,
        words: Collection[str] = (),
    ) -> None:
        self._store = store
        self._outbound = Outbound(store, words)
        self._nodes = nodes
        self._ae_title = ae_title

    def attempt(self, job: Job) -> Attempt:
        """Send what the job's node has not confirmed yet.

        Results go to it in the forms that it takes. None are sent where a model found nothing and
        made nothing, or only reports that say so to a node that takes none.

        Raises:
            PeerUnavailable: the node does not answer.
            PeerRefused: the node will not talk to this one, is not one to send to, or takes
                none of what was made.
            NotFound: there is nothing to send.
            DeidentificationRefused, PseudonymUnknown, KeyUnusable: as `Outbound.prepared`.
        """
        if job.action is JobAction.DELIVER and not self._made(job):
            return Attempt(state=JobState.DONE)
        wanted = self._wanted(job)
        if not wanted:
            return Attempt(state=JobState.DONE)
        missing = [one for one in wanted if one.sop_instance_uid not in job.results]
        sent = self._send(job, missing)
        return summary(job.results, sent, total=len(wanted))

    def _wanted(self, job: Job) -> tuple[Instance, ...]:
        if job.action is JobAction.FORWARD:
            kept = self._store.instances.current_of_series(job.series_instance_uid)
        else:
            results = (self._store.instances.current(uid) for uid in self._made(job))
            kept = tuple(instance for instance in results if instance is not None)
        if not kept:
            raise NotFound(f"what job {job.id} is to send is no longer kept here")
        return kept if job.action is JobAction.FORWARD else self._taken(job.node or "", kept)

    def _made(self, job: Job) -> tuple[str, ...]:
        return self._store.jobs.get(job.parent_id or "").results

    def _taken(self, node_name: str, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        """Choose the results that are in a form which the node takes."""
        every = [results_of(node) for node in self._nodes.values()]
        made = [made_object(instance) for instance in instances]
        taken = frozenset(taken_by(made, results_of(self._nodes.get(node_name)), every))
        if not taken and any(one.sop_class_uid != Comprehensive3DSRStorage for one in made):
            raise PeerRefused(
                f"node {node_name!r} takes none of the {len(made)} objects that were made; its "
                "`results` and the `outputs` of the model's descriptor have nothing in common"
            )
        return tuple(
            instance for instance, one in zip(instances, made, strict=True) if one in taken
        )

    def _send(self, job: Job, instances: Sequence[Instance]) -> tuple[SendResult, ...]:
        """Send instances in the job's form; results name them as they are kept."""
        node, node_name = self._nodes.get(job.node or ""), job.node
        if node is None:
            raise PeerRefused(f"node {node_name!r} is no longer in the settings")
        if not isinstance(node, DimseNode):
            raise PeerRefused(
                f"node {node_name!r} is of kind {node.kind}, which this version cannot send to"
            )
        with self._outbound.prepared(job, instances) as outgoing:
            kept_as = {one.sop_instance_uid: uid for uid, one in outgoing.items()}
            sent = send(node, self._ae_title, list(outgoing.values()))
        return tuple(replace(one, sop_instance_uid=kept_as[one.sop_instance_uid]) for one in sent)


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
