"""Asking a peer how many instances it has of a series (PS3.4 annex C)."""

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from gateway.dimse.requestor import association, peer_name, requestor
from gateway.errors import PeerUnavailable
from gateway.settings import DimseNode

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
"""Study Root Query/Retrieve Information Model - FIND (PS3.4 section C.6.2)."""

_CONNECT_SECONDS = 5
_RESPONSE_SECONDS = 10
_SUCCESS = 0x0000
_PENDING = (0xFF00, 0xFF01)


def count_series(
    node: DimseNode, calling_ae: str, series: tuple[tuple[str, str], ...]
) -> Iterator[tuple[str, int | None]]:
    """Ask a peer to count series, given as (Study, Series Instance UID), on one association.

    Gives (Series Instance UID, number) as the answers come; None for a series that the peer does
    not have or will not count. Number of Series Related Instances (0020,1209) is asked for, and
    where the peer leaves it out, its instances are listed and counted.

    Raises:
        PeerUnavailable: the peer does not answer, or stopped answering.
        PeerRefused: the peer rejects the association or answers no queries.
    """
    entity = requestor(
        calling_ae, connect_seconds=_CONNECT_SECONDS, response_seconds=_RESPONSE_SECONDS
    )
    entity.add_requested_context(STUDY_ROOT_FIND)
    with association(entity, node) as opened:
        for study_instance_uid, series_instance_uid in series:
            query = _Query(opened, peer_name(node), study_instance_uid, series_instance_uid)
            yield series_instance_uid, query.number()


class _Query:
    """The count of one series."""

    def __init__(self, opened: Association, peer: str, study: str, series: str) -> None:
        self._association = opened
        self._peer = peer
        self._study_instance_uid = study
        self._series_instance_uid = series

    def number(self) -> int | None:
        """Return the peer's count."""
        found = self._matches("SERIES", NumberOfSeriesRelatedInstances=None)
        if not found:
            return None
        return _number(found[0]) or len(self._matches("IMAGE", SOPInstanceUID="")) or None

    def _matches(self, level: str, **returned: str | None) -> list[Dataset]:
        """Return the matches at a level; a peer that fails at it has none."""
        keys = Dataset()
        keys.QueryRetrieveLevel = level
        keys.StudyInstanceUID = self._study_instance_uid
        keys.SeriesInstanceUID = self._series_instance_uid
        for keyword, value in returned.items():
            setattr(keys, keyword, value)
        return [one for one in self._pending(keys) if self._is_meant(one)]

    def _pending(self, keys: Dataset) -> Iterator[Dataset]:
        if not self._association.is_established:
            raise PeerUnavailable(f"{self._peer} ended the association before it had answered")
        for status, match in self._association.send_c_find(keys, STUDY_ROOT_FIND):
            if "Status" not in status:
                raise PeerUnavailable(f"{self._peer} did not answer a query in time")
            if status.Status in _PENDING and match is not None:
                yield match

    def _is_meant(self, match: Dataset) -> bool:
        """Tell whether a match is of the series; some peers ignore keys that they do not index."""
        return str(match.get("SeriesInstanceUID", "")) == self._series_instance_uid


def _number(match: Dataset) -> int | None:
    """Return Number of Series Related Instances, where a match has one that is a number."""
    try:
        return int(match.NumberOfSeriesRelatedInstances)
    except (AttributeError, TypeError, ValueError):
        return None
