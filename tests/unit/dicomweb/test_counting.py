"""How many instances a peer has of a series, asked by QIDO-RS."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.dicomweb import count_series
from gateway.errors import PeerRefused, PeerUnavailable
from gateway.settings import DicomwebNode
from tests.peers.processes import free_port
from tests.peers.web_archive import WebArchive

SERIES = "2.25.2"


def match(uid: str = SERIES, number: Any = 120) -> dict[str, Any]:
    return {
        "0020000E": {"vr": "UI", "Value": [uid]},
        "00201209": {"vr": "IS", "Value": [number]},
    }


def counted(node: DicomwebNode) -> int | None:
    ((series_instance_uid, number),) = count_series(node, (("2.25.1", SERIES),))
    assert series_instance_uid == SERIES
    return number


def answering(*matches: Any) -> WebArchive:
    return WebArchive(body=json.dumps(matches).encode())


def test_the_peers_number_is_asked_for() -> None:
    with answering(match()) as archive:
        assert counted(archive.node()) == 120
    assert archive.asked == [
        ("/dicom-web/series?SeriesInstanceUID=2.25.2&includefield=00201209", "")
    ]


def test_a_token_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with answering(match()) as archive:
        assert counted(archive.node(token_file=tmp_path / "token")) == 120
    assert archive.asked[0][1] == "Bearer secret"


@pytest.mark.parametrize(
    "matches",
    [
        (),
        (match(uid="2.25.9"),),
        (match(number=0),),
        (match(number="many"),),
        ({"0020000E": {"vr": "UI", "Value": [SERIES]}},),
        ({"0020000E": {"vr": "UI"}},),
        ("text", None, 3, {"0020000E": []}),
    ],
)
def test_what_holds_no_number_of_the_series_counts_nothing(matches: tuple[Any, ...]) -> None:
    with answering(*matches) as archive:
        assert counted(archive.node()) is None


def test_a_number_that_is_written_as_text_is_one() -> None:
    with answering(match(uid="2.25.9"), match(number="7")) as archive:
        assert counted(archive.node()) == 7


def test_no_content_is_no_series() -> None:
    with WebArchive(status=204) as archive:
        assert counted(archive.node()) is None


@pytest.mark.parametrize(
    ("status", "error"), [(401, PeerRefused), (404, PeerRefused), (503, PeerUnavailable)]
)
def test_another_status_is_told(status: int, error: type[Exception]) -> None:
    with WebArchive(status=status) as archive, pytest.raises(error, match=f"HTTP {status}"):
        counted(archive.node())


@pytest.mark.parametrize("body", [b"<html>", b"\xff\xfe", b" " * ((1 << 20) + 1)])
def test_an_answer_that_is_none_is_told(body: bytes) -> None:
    with WebArchive(body=body) as archive, pytest.raises(PeerRefused, match="answered"):
        counted(archive.node())


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://127.0.0.1:port/", "nothing"])
def test_a_peer_that_cannot_be_reached_is_told(url: str) -> None:
    node = DicomwebNode(kind="dicomweb", url=url.format(port=free_port()))
    with pytest.raises(PeerUnavailable, match="does not answer"):
        counted(node)
