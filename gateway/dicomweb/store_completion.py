"""The end of a store request is the end of the series that it brought whole."""

from collections import Counter
from collections.abc import Sequence

import structlog

from gateway.dicomweb.store_response import StoreResponse
from gateway.errors import GatewayError, StudyMismatch
from gateway.store import NodeStore
from gateway.store.completion import CompletionIndex

_log = structlog.get_logger()
_BECAUSE = "a finished store request (STOW-RS) brought all of its instances"


def whole_series(response: StoreResponse) -> tuple[str, ...]:
    """Return the SOP Instance UIDs of the series that a request may have brought whole.

    None where the request broke off, or where an instance failed that may be of any series. A
    series of which Images in Acquisition (0020,1002) counts more instances than came is left out,
    and so is one that cannot be told from the first bytes of its instances.
    """
    failures = [one for one in response.failed if not isinstance(one.error, StudyMismatch)]
    if response.problem or failures:
        return ()
    numbers = Counter(one.series_instance_uid for one in response.stored)
    short = {
        one.series_instance_uid
        for one in response.stored
        if numbers[one.series_instance_uid] < (one.images_in_acquisition or 0)
    }
    return tuple(
        one.sop_instance_uid
        for one in response.stored
        if one.series_instance_uid and one.series_instance_uid not in short
    )


class StoreCompletion:
    """Holds series complete that a request brought whole."""

    def __init__(self, store: NodeStore) -> None:
        self._index = CompletionIndex(store.database)

    def complete(self, sop_instance_uids: Sequence[str]) -> None:
        """Hold every series complete of which only these instances are here.

        Others of a series come from other requests: then nobody knows which is the last one, and
        its completion is left to the quiet time. So it is where the index is not to be had.
        """
        try:
            completed = self._index.complete_listed(sop_instance_uids, _BECAUSE)
        except GatewayError as error:
            _log.warning("store_request_completes_nothing", reason=str(error))
            return
        if completed:
            _log.info("series_complete", series=len(completed), because=_BECAUSE)
