"""What Prometheus reads: counts that live in the index, so that a restart loses none."""

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from gateway.store import NodeStore

_COUNTERS = {
    "instances_new": "Instances kept",
    "instances_duplicate": "Instances received again with the same bytes",
    "instances_conflict": "Instances received again with other bytes",
    "quarantined": "Data sets without UID, class, study or series, set aside",
    "refused_instance_mismatch": "Data sets that name another instance than their command",
    "refused_store_full": "Instances refused for want of space",
    "rejected_associations": "Associations of peers that are not allowed",
}


class NodeCollector(Collector):
    """Reads the metrics of the whole node from its index at each scrape."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Return every metric."""
        counts = self._store.counters.all()
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"gateway_{name}", text, value=counts.get(name, 0))
        series = GaugeMetricFamily("gateway_series", "Series by state", labels=["state"])
        for state, number in self._store.series.state_counts().items():
            series.add_metric([state], number)
        yield series
        jobs = GaugeMetricFamily("gateway_jobs", "Jobs by state", labels=["action", "state"])
        for (action, state), number in self._store.jobs.state_counts().items():
            jobs.add_metric([action, state], number)
        yield jobs
        stages = SummaryMetricFamily(
            "gateway_segment_stage_seconds",
            "Stages of the segmentations that are done",
            labels=["model", "stage"],
        )
        for one in self._store.stage_times.all():
            stages.add_metric([one.model, one.stage], one.number, one.seconds)
        yield stages
        up = GaugeMetricFamily("gateway_process_alive", "Processes by name", labels=["process"])
        for process in self._store.processes.all():
            up.add_metric([process.name], float(process.is_alive))
        yield up
        yield GaugeMetricFamily(
            "gateway_free_bytes", "Free space of the store", value=self._store.objects.free_bytes()
        )
