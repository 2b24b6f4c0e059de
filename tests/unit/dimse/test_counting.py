"""How many instances a peer has of a series, asked by C-FIND."""

import pytest

from gateway.dimse.counting import count_series
from gateway.errors import PeerRefused, PeerUnavailable
from gateway.settings import DimseNode
from tests.peers.archive import Archive
from tests.peers.processes import free_port

STUDY = "2.25.1"
ONE, OTHER = "2.25.21", "2.25.22"


def counted(archive: Archive, *series: str) -> dict[str, int | None]:
    return dict(count_series(archive.node(), "GATEWAY", tuple((STUDY, uid) for uid in series)))


def test_the_peers_number_is_asked_for_at_series_level() -> None:
    with Archive(counts={ONE: 3, OTHER: 500}) as archive:
        assert counted(archive, ONE, OTHER) == {ONE: 3, OTHER: 500}
    assert archive.asked == [("SERIES", ONE), ("SERIES", OTHER)]


def test_a_peer_that_gives_no_number_lists_its_instances() -> None:
    with Archive(counts={ONE: 3}, tells_numbers=False) as archive:
        assert counted(archive, ONE) == {ONE: 3}
    assert archive.asked == [("SERIES", ONE), ("IMAGE", ONE)]


def test_a_series_that_the_peer_does_not_have_has_no_number() -> None:
    with Archive(counts={OTHER: 3}) as archive:
        assert counted(archive, ONE) == {ONE: None}


def test_other_series_that_a_peer_returns_are_none_of_it() -> None:
    with Archive(counts={OTHER: 3, ONE: 4}, heeds_series=False) as archive:
        assert counted(archive, ONE) == {ONE: 4}


def test_a_query_that_fails_gives_no_number() -> None:
    with Archive(counts={ONE: 3}, fails=True) as archive:
        assert counted(archive, ONE) == {ONE: None}


def test_a_peer_that_is_away_is_told() -> None:
    node = DimseNode(kind="dimse", ae_title="ARCHIVE", host="127.0.0.1", port=free_port())
    with pytest.raises(PeerUnavailable, match="ARCHIVE at 127"):
        list(count_series(node, "GATEWAY", ((STUDY, ONE),)))


def test_a_peer_that_answers_no_queries_is_told() -> None:
    with Archive(takes_queries=False) as archive, pytest.raises(PeerRefused, match="accepts none"):
        counted(archive, ONE)
