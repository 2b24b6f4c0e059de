"""kill -9 of anything at any moment under load: what was promised is kept, and done once."""

import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartNode
from tests.peers.barrage import Barrage, Promise
from tests.peers.commands import shown
from tests.peers.dcmtk import StoreScp
from tests.peers.instances import CT_CONTEXT, ct, new_series, sha256
from tests.peers.node import ENDED, Node, Peer, Plan
from tests.peers.processes import wait_until
from tests.peers.raw import Part10, read_part10
from tests.peers.trace import killed_at
from tests.peers.vitals import of_role
from tests.peers.wire import Wire

pytestmark = pytest.mark.peers

FORWARD_ALL = """\
rule: everything-to-the-pacs
when: {Modality: CT}
then:
  - forward: {to: [pacs]}
"""
# Long enough before the whole node goes, and with it the supervisor's growing pauses.
LIFE = ("receiver", "receiver", "worker", "receiver", "receiver", "receiver", "worker", "receiver")
STEPS = ("fsync,fdatasync", "rename,renameat,renameat2,link,linkat", "pwrite64")
"""The first of these calls: before bytes are safe, before they have a name, before the row."""
SENDERS = 8
SEED = int(os.environ.get("GATEWAY_TEST_SEED", "20250101"))
KILLS = int(os.environ.get("GATEWAY_TEST_KILLS", "200"))


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StoreScp]:
    """A PACS that keeps a file per instance, each with the bytes that came last."""
    with StoreScp(tmp_path / "pacs") as running:
        yield running


@pytest.fixture
def node(start_node: StartNode, pacs: StoreScp) -> Node:
    """A node of several receivers that sends everything on."""
    plan = Plan(
        rules={"10.yaml": FORWARD_ALL},
        peers={"pacs": Peer(ae_title=pacs.ae_title, port=pacs.port)},
        receivers=3,
        quiet_seconds=3,
    )
    return start_node(plan)


def test_nothing_promised_is_lost_by_ten_kills(node: Node, pacs: StoreScp) -> None:
    survive(node, pacs, kills=10, series_length=30)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_nothing_promised_is_lost_by_hundreds_of_kills(node: Node, pacs: StoreScp) -> None:
    survive(node, pacs, kills=KILLS, series_length=100)


def test_a_receiver_killed_at_a_step_of_keeping_keeps_the_instance_at_the_next_try(
    start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node(Plan(rules={}, quiet_seconds=0.5))
    names = new_series()
    items = [ct(names, number) for number in range(1, len(STEPS) + 2)]
    assert store_at_last(node, items[0]) == 0x0000
    for step, item in zip(STEPS, items[1:], strict=True):
        die_at(node, step, item, tmp_path / "trace")
        assert store_at_last(node, item) == 0x0000

    files = node.wait_for(names.series_instance_uid)["files"]

    assert sorted(file["sha256"] for file in files) == sorted(map(sha256, items))
    node.stop()
    node.start()
    spooled = [path for path in (node.data_dir / "spool").rglob("*") if path.is_file()]
    assert not spooled, "what a killed receiver left stays for ever"
    node.stop()


def survive(node: Node, pacs: StoreScp, *, kills: int, series_length: int) -> None:
    """Send from all senders, kill, restart; then account for every instance and every job."""
    barrage = Barrage(
        senders=SENDERS, seed=SEED, series_length=series_length, pause_seconds=0.05
    ).start(node.dicom_port)
    chance = random.Random(SEED)
    for victim in islice(cycle([*LIFE, "group"]), kills):
        under_load(barrage)
        time.sleep(chance.uniform(0, 0.5))
        kill(node, victim, chance)
    under_load(barrage)
    promises = barrage.finish(120)
    assert barrage.interruptions >= kills // 3, "the kills hit nobody"
    series = settled(node, {promise.series_instance_uid for promise in promises})
    account_for_instances(series, promises)
    account_for_jobs(series)
    account_for_deliveries(pacs, promises)


def under_load(barrage: Barrage) -> None:
    """Return once the node has answered more instances than now."""
    wanted = barrage.promised + SENDERS

    def has_load() -> bool:
        barrage.check()
        return barrage.promised > wanted

    wait_until(has_load, "load", 90, 0.02)


def kill(node: Node, victim: str, chance: random.Random) -> None:
    """kill -9 one process, or all; what nobody restarts is started again."""
    if victim == "group":
        node.kill_all()
        node.start()
        return
    running = wait_until(lambda: of_role(node, victim), f"a {victim} runs", 60, 0.05, node.log)
    with suppress(ProcessLookupError):
        os.kill(chance.choice(running), signal.SIGKILL)


def settled(node: Node, uids: set[str]) -> list[dict[str, Any]]:
    """Return what the node shows of the series once there is nothing left to do for them."""

    def all_ended() -> bool:
        states = {one["series_instance_uid"]: one["state"] for one in node.series()}
        return all(states.get(uid) in ENDED for uid in uids)

    # The PACS of this test takes one association at a time.
    seconds = 300 + 5 * len(uids)
    wait_until(all_ended, "every series ended", seconds, 1, lambda: node.log()[-9000:])
    return shown(node, sorted(uids))


def account_for_instances(series: Sequence[dict[str, Any]], promises: Sequence[Promise]) -> None:
    """Every promised instance is there once, indexed and on disk with the bytes sent."""
    promised = defaultdict(set)
    for promise in promises:
        promised[promise.series_instance_uid].add((promise.sop_instance_uid, promise.sha256))
    for one in series:
        held = [(file["sop_instance_uid"], file["sha256"]) for file in one["files"]]
        assert sorted(held) == sorted(promised[one["series_instance_uid"]])
        assert one["instances"] == len(held)
        for file in one["files"]:
            assert sha256(read_part10(Path(file["path"]))) == file["sha256"]


def account_for_jobs(series: Sequence[dict[str, Any]]) -> None:
    """Every series was forwarded, its last revision too, and no revision twice."""
    for one in series:
        assert one["state"] == "done", one["jobs"]
        jobs = Counter((job["action"], job["node"], job["revision"]) for job in one["jobs"])
        assert ("forward", "pacs", one["revision"]) in jobs, f"no job for {one}"
        assert set(jobs.values()) == {1}, f"a job was entered twice: {jobs}"


def account_for_deliveries(pacs: StoreScp, promises: Sequence[Promise]) -> None:
    """The PACS has every instance, with the bytes sent, and no other."""
    arrived = sorted(sha256(read_part10(path)) for path in pacs.files())
    assert arrived == sorted(promise.sha256 for promise in promises)


def die_at(node: Node, step: str, item: Part10, trace: Path) -> None:
    """Have the receiver die at a system call while it keeps an instance."""
    wait_until(lambda: is_taking(node), "the receiver is back", 60, 0.2, node.log)
    (receiver,) = of_role(node, "receiver")
    with Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        with killed_at(receiver, step, when=1, output=trace), pytest.raises(ConnectionError):
            wire.store(item)


def is_taking(node: Node) -> bool:
    """Tell whether the node takes an association."""
    try:
        with Wire(node.dicom_port) as wire:
            wire.associate([CT_CONTEXT])
            wire.release()
    except OSError:
        return False
    return True


def store_at_last(node: Node, item: Part10) -> int | None:
    """Send again, as a modality does, once the node takes associations again."""
    wait_until(lambda: is_taking(node), "the receiver is back", 60, 0.2, node.log)
    with Wire(node.dicom_port) as wire:
        wire.associate([CT_CONTEXT])
        status = wire.store(item).status
        wire.release()
    return status
