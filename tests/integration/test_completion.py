"""When a running node holds a series complete, and what late instances bring about."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.peers.instances import CT_CONTEXT, SeriesNames, ct, new_series
from tests.peers.keeper import Keeper
from tests.peers.node import Node, Plan
from tests.peers.pacs import AskingPacs
from tests.peers.processes import free_port
from tests.peers.raw import Part10, as_file, association, send, store

pytestmark = pytest.mark.peers

LONG = 3600.0
"""A quiet time that no test waits for."""
COMPLETE = ("complete", "done", "failed")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[AskingPacs]:
    with AskingPacs(tmp_path / "archive") as running:
        yield running


@contextmanager
def running(
    folder: Path, plan: Plan, *, dimse: Mapping[str, Any] | None = None, nodes: str = ""
) -> Iterator[Node]:
    """Run a node with settings that a plan does not have."""
    node = Node(folder / "node", plan)
    lines = "".join(f"{name} = {value}\n" for name, value in (dimse or {}).items())
    text = node.config.read_text().replace("[dimse]\n", f"[dimse]\n{lines}")
    node.config.write_text(f"{text}\n{nodes}")
    with node:
        yield node


def series(number: int) -> tuple[SeriesNames, list[Part10]]:
    names = new_series()
    return names, [ct(names, one) for one in range(1, number + 1)]


def upload(archive: AskingPacs, items: Sequence[Part10]) -> None:
    for item in items:
        with as_file(item) as path:
            archive.upload(path)


def completed(node: Node, names: SeriesNames, revision: int = 1) -> str:
    shown = node.wait_for(names.series_instance_uid, states=COMPLETE, revision=revision, seconds=30)
    return str(shown["completed_because"])


@pytest.mark.parametrize("kind", ["dimse", "dicomweb"])
def test_the_archives_count_completes_a_series_whose_association_stays_open(
    tmp_path: Path, archive: AskingPacs, kind: str
) -> None:
    names, items = series(3)
    upload(archive, items)
    where = {
        "dimse": f'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {archive.dicom_port}',
        "dicomweb": f'url = "{archive.dicom_web_url}"',
    }
    nodes = f'[nodes.archive]\nkind = "{kind}"\n{where[kind]}\ncounts_for = ["MODALITY"]\n'
    with running(tmp_path, Plan(rules={}, quiet_seconds=LONG), nodes=nodes) as node:
        archive.know("gateway", node.ae_title, node.dicom_port)
        with association(node.dicom_port, [CT_CONTEXT]) as opened:
            assert [store(opened, item).status for item in items] == [0, 0, 0]
            assert completed(node, names) == "3 of 3 instances that node archive counts"
            assert opened.is_established


def test_an_archive_that_is_away_leaves_the_quiet_time_and_is_logged_once(tmp_path: Path) -> None:
    nodes = (
        '[nodes.archive]\nkind = "dimse"\nae_title = "A"\nhost = "127.0.0.1"\n'
        f'port = {free_port()}\ncounts_for = ["MODALITY"]\n'
    )
    with running(tmp_path, Plan(rules={}, quiet_seconds=1), nodes=nodes) as node:
        for _ in range(3):
            names, items = series(2)
            send(node.dicom_port, items)
            assert completed(node, names) == "its associations ended, then 1 s of quiet"
        lines = [line for line in node.log().splitlines() if "source_does_not_count" in line]
    # The log goes to the output and to a file.
    assert 1 <= len(lines) <= 2


def test_a_series_is_waited_for_no_longer_than_the_ceiling(tmp_path: Path) -> None:
    names, items = series(1)
    plan = Plan(rules={}, quiet_seconds=LONG)
    with (
        running(tmp_path, plan, dimse={"ceiling_seconds": 2}) as node,
        association(node.dicom_port, [CT_CONTEXT]) as opened,
    ):
        assert store(opened, items[0]).status == 0
        assert completed(node, names) == "receiving for 2 s, the ceiling"


def test_a_peer_that_paused_is_waited_for_the_next_time(tmp_path: Path) -> None:
    with running(tmp_path, Plan(rules={}, quiet_seconds=2)) as node:
        names, items = series(2)
        send(node.dicom_port, items[:1])
        time.sleep(1.5)
        send(node.dicom_port, items[1:])
        assert ": MODALITY paused up to " in completed(node, names)


ON_LATE = """\
rule: once
on_late: ignore
when: {Modality: CT}
then:
  - forward: {to: [first]}
---
rule: always
when: {Modality: CT}
then:
  - forward: {to: [second]}
"""


def test_a_late_instance_runs_the_rules_again_but_those_that_ignore_it(tmp_path: Path) -> None:
    names, items = series(3)
    with Keeper() as first, Keeper() as second:
        peers = {"first": first.peer, "second": second.peer}
        plan = Plan(rules={"10.yaml": ON_LATE}, peers=peers, quiet_seconds=0.5)
        with running(tmp_path, plan) as node:
            send(node.dicom_port, items[:2])
            node.wait_for(names.series_instance_uid, states=["done"])
            send(node.dicom_port, items[2:])
            shown = node.wait_for(names.series_instance_uid, states=["done"], revision=2)
        late = [len(keeper.received(names.instance(3))) for keeper in (first, second)]
    assert late == [0, 1]
    once = next(one for one in shown["decision"] if one["rule"] == "once")
    assert not once["matched"]
    assert "on_late is ignore" in once["reasons"][0]


def test_series_show_says_why_a_series_is_complete(tmp_path: Path) -> None:
    names, items = series(2)
    with running(tmp_path, Plan(rules={}, quiet_seconds=0.5)) as node:
        send(node.dicom_port, items)
        completed(node, names)
        said = node.run("series", "show", names.series_instance_uid).stdout
    assert "complete  its associations ended, then 0.5 s of quiet" in said
