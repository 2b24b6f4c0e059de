"""What rules may know of a series that is kept here."""

from collections.abc import Collection

from pydicom import dcmread

from gateway.rules import SeriesFacts
from gateway.store import NodeStore, Series


def facts_of(store: NodeStore, series: Series, tags: Collection[int]) -> SeriesFacts:
    """Read these attributes of a series' current instances, and never pixel data."""
    instances = store.instances.current_of_series(series.series_instance_uid)
    return SeriesFacts.from_datasets(
        (
            dcmread(
                store.objects.path(instance.object_key),
                stop_before_pixels=True,
                specific_tags=list(tags),
            )
            for instance in instances
        ),
        calling_ae=series.calling_ae,
        called_ae=series.called_ae,
        source=series.source,
        transfer_syntaxes=[instance.transfer_syntax_uid for instance in instances],
    )
