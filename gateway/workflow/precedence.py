"""Which of the segment jobs that wait is begun next: by the priority of its model, and its age."""

from collections.abc import Callable

import structlog

from gateway.errors import GatewayError
from gateway.inference import Model, Priority, due_at

_log = structlog.get_logger()

_COUNTED_FROM = 1_700_000_000
"""Unix time; the queue's places are 32 bits, which Unix time outgrows in 2038."""
_FIRST_PLACE, _LAST_PLACE = 1, 2**31 - 1


def place_in_queue(priority: Priority, queued_at: float) -> int:
    """Return the place of a job that was queued at a Unix time; the lowest is begun first."""
    return min(max(due_at(priority, queued_at) - _COUNTED_FROM, _FIRST_PLACE), _LAST_PLACE)


def priority_of(model: str, model_named: Callable[[str], Model]) -> Priority:
    """Return a model's priority; of one that does not load the usual, for its job to say why."""
    try:
        return model_named(model).descriptor.host.priority
    except (GatewayError, OSError) as error:
        _log.warning("model_priority_unknown", model=model, reason=str(error))
        return Priority.NORMAL
