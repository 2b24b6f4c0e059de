"""What a job sends to which node, and the state that leaves it in."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from pydicom.uid import Comprehensive3DSRStorage

from gateway.errors import NotFound, PeerRefused
from gateway.inference import taken_by
from gateway.settings import DimseNode, HealthImagingNode, Node
from gateway.store import Instance, Job, JobAction, JobState, NodeStore
from gateway.workflow.attempt import Attempt
from gateway.workflow.cloud_delivery import CloudDelivery
from gateway.workflow.dimse_delivery import DimseDelivery
from gateway.workflow.outbound import Outbound
from gateway.workflow.segmenting import made_object, results_of


class Delivery(Protocol):
    """How instances get to a node of one kind."""

    def attempt(self, job: Job, instances: Sequence[Instance]) -> Attempt:
        """Send those that the node has not confirmed yet."""


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
        self._nodes = nodes
        self._ways = dict(_ways(store, nodes, ae_title, Outbound(store, words)))

    def attempt(self, job: Job) -> Attempt:
        """Send what the job's node has not confirmed yet.

        Results go to it in the forms that it takes. None are sent where a model found nothing and
        made nothing, or only reports that say so to a node that takes none.

        Raises:
            PeerUnavailable, PeerBusy: the node does not answer, or not now.
            PeerRefused, AccessRefused: the node will not talk to this one, is not one to send to,
                or takes none of what was made.
            NotFound: there is nothing to send.
            DeidentificationRefused, PseudonymUnknown, KeyUnusable: as `Outbound.prepared`.
        """
        if job.action is JobAction.DELIVER and not self._made(job):
            return Attempt(state=JobState.DONE)
        wanted = self._wanted(job)
        if not wanted:
            return Attempt(state=JobState.DONE)
        return self._way(job.node or "").attempt(job, wanted)

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

    def _way(self, node_name: str) -> Delivery:
        way = self._ways.get(node_name)
        if way is not None:
            return way
        node = self._nodes.get(node_name)
        if node is None:
            raise PeerRefused(f"node {node_name!r} is no longer in the settings")
        raise PeerRefused(
            f"node {node_name!r} is of kind {node.kind}, which this version cannot send to"
        )


def _ways(
    store: NodeStore, nodes: Mapping[str, Node], ae_title: str, outbound: Outbound
) -> Iterator[tuple[str, Delivery]]:
    for name, node in nodes.items():
        match node:
            case DimseNode():
                yield name, DimseDelivery(outbound, node, ae_title)
            case HealthImagingNode():
                yield name, CloudDelivery(store, name, node, outbound)
