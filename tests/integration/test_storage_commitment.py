"""Storage commitment of a running node, met by pynetdicom and by Orthanc."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from tests.peers.instances import CT, SeriesNames, ct, new_series
from tests.peers.modality import Modality
from tests.peers.node import Node, Peer, Plan
from tests.peers.pacs import AskingPacs
from tests.peers.processes import free_port, wait_until
from tests.peers.raw import as_file, send

pytestmark = pytest.mark.peers

PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
VERIFICATION = "1.2.840.10008.1.1"
Report = tuple[int, Dataset]

VANISHING = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
"""A report may meet the abort of a peer that vanishes, which pynetdicom's own thread raises for."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that knows two requestors, and completes nothing by quiet time."""
    peers = {
        "waiting": Peer(ae_title="WAITING", port=free_port()),
        "restarted": Peer(ae_title="RESTARTED", port=free_port()),
    }
    plan = Plan(rules={}, peers=peers, quiet_seconds=3600)
    with Node(tmp_path_factory.mktemp("commitment") / "node", plan) as running:
        yield running


def port_of(node: Node, ae_title: str) -> int:
    """The port on which the node's settings expect a requestor."""
    lines = node.config.read_text().split(f'ae_title = "{ae_title}"')[1].splitlines()
    return next(int(line.split("=")[1]) for line in lines if line.startswith("port"))


def received(node: Node, number: int = 2) -> SeriesNames:
    """Send a series."""
    names = new_series()
    answers = send(node.dicom_port, [ct(names, one) for one in range(1, number + 1)])
    assert {answer.status for answer in answers} == {0}
    return names


class Requestor:
    """An association of a requestor, which takes reports on it."""

    def __init__(self, opened: Association) -> None:
        self._opened = opened
        self.reports: list[Report] = []
        self.arrived = threading.Event()

    def ask(self, *instances: str, action_type: int = 1, transaction: bool = True) -> int:
        """Send a request; return the response's status."""
        information = Dataset()
        if transaction:
            information.TransactionUID = generate_uid()
        information.ReferencedSOPSequence = [reference(uid) for uid in instances]
        status, _ = self._opened.send_n_action(
            information, action_type, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
        return int(status.Status)

    def report(self) -> Report:
        """Wait for the one report."""
        assert self.arrived.wait(20), "no report on this association"
        (report,) = self.reports
        return report

    def echo(self) -> int:
        return int(self._opened.send_c_echo().Status)

    def take(self, event: Event) -> tuple[int, None]:
        self.reports.append((int(event.event_type or 0), event.event_information))
        self.arrived.set()
        return 0x0000, None


@contextmanager
def requestor(node: Node, calling: str = "MODALITY") -> Iterator[Requestor]:
    entity = AE(ae_title=calling)
    entity.add_requested_context(PUSH_MODEL)
    entity.add_requested_context(VERIFICATION)
    one: list[Requestor] = []
    opened = entity.associate(
        "127.0.0.1",
        node.dicom_port,
        ae_title=node.ae_title,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, lambda event: one[0].take(event))],
    )
    assert opened.is_established
    one.append(Requestor(opened))
    try:
        yield one[0]
    finally:
        opened.release()


def reference(sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = CT
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def uids(sequence: Sequence[Dataset]) -> set[str]:
    return {str(item.ReferencedSOPInstanceUID) for item in sequence}


def test_what_is_here_is_reported_on_the_same_association_and_completes_its_series(
    node: Node,
) -> None:
    names = received(node)
    wanted = [names.instance(1), names.instance(2)]
    with requestor(node) as asking:
        assert asking.ask(*wanted) == 0x0000
        event_type, information = asking.report()

    assert event_type == 1
    assert uids(information.ReferencedSOPSequence) == set(wanted)
    assert information.RetrieveAETitle == "GATEWAY"
    shown = node.wait_for(names.series_instance_uid, states=["complete", "done"], seconds=10)
    assert shown["completed_because"].startswith("MODALITY requested storage commitment of 2")


def test_what_is_missing_or_damaged_is_reported_as_failed(node: Node) -> None:
    names = received(node)
    (file,) = (
        Path(one["path"])
        for one in node.show(names.series_instance_uid)["files"]
        if one["sop_instance_uid"] == names.instance(2)
    )
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with requestor(node) as asking:
        assert asking.ask(names.instance(1), names.instance(2), names.instance(3)) == 0x0000
        event_type, information = asking.report()

    assert event_type == 2
    assert uids(information.ReferencedSOPSequence) == {names.instance(1)}
    reasons = {
        str(one.ReferencedSOPInstanceUID): one.FailureReason
        for one in information.FailedSOPSequence
    }
    assert reasons == {names.instance(2): 0x0110, names.instance(3): 0x0112}
    assert node.show(names.series_instance_uid)["state"] == "receiving"


def test_a_request_that_is_none_gets_its_status_and_the_association_goes_on(node: Node) -> None:
    with requestor(node) as asking:
        assert asking.ask("1.2.3", action_type=2) == 0x0123
        assert asking.ask("1.2.3", transaction=False) == 0x0115
        assert asking.ask() == 0x0115
        assert asking.echo() == 0x0000
        assert asking.reports == []


@VANISHING
def test_a_requestor_that_releases_at_once_gets_its_report_on_its_own_port(node: Node) -> None:
    names = received(node)
    with Modality(ae_title="WAITING", port=port_of(node, "WAITING")) as modality:
        _ask_and_vanish(node, "WAITING", names)
        wait_until(lambda: modality.reports, "the report", 30, 0.1, node.log)
    event_type, information = modality.reports[0]
    assert event_type == 1
    assert uids(information.ReferencedSOPSequence) == {names.instance(1)}


@VANISHING
def test_a_report_outlives_kill_9_of_the_node(node: Node) -> None:
    names = received(node)
    _ask_and_vanish(node, "RESTARTED", names)
    wait_until(lambda: "commitment_report_waits" in node.log(), "an attempt", 30, 0.1)
    node.kill_all()
    node.start()
    with Modality(ae_title="RESTARTED", port=port_of(node, "RESTARTED")) as modality:
        wait_until(lambda: modality.reports, "the report", 30, 0.1, node.log)
    assert uids(modality.reports[0][1].ReferencedSOPSequence) == {names.instance(1)}


def _ask_and_vanish(node: Node, calling: str, names: SeriesNames) -> None:
    """Ask as those do who take no report on the association of their request."""
    entity = AE(ae_title=calling)
    entity.add_requested_context(PUSH_MODEL)
    opened = entity.associate("127.0.0.1", node.dicom_port, ae_title=node.ae_title)
    information = Dataset()
    information.TransactionUID = generate_uid()
    information.ReferencedSOPSequence = [reference(names.instance(1))]
    status, _ = opened.send_n_action(information, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    assert status.Status == 0x0000
    opened.abort()


def test_orthanc_gets_its_report(tmp_path: Path) -> None:
    names = new_series()
    items = [ct(names, one) for one in (1, 2)]
    with AskingPacs(tmp_path / "archive") as archive:
        plan = Plan(rules={}, peers={"archive": archive.peer}, quiet_seconds=3600)
        with Node(tmp_path / "node", plan) as node:
            archive.know("gateway", node.ae_title, node.dicom_port)
            for item in items:
                with as_file(item) as path:
                    study = archive.upload(path)
            archive.send_to("gateway", study)

            good = archive.request_commitment(
                "gateway", (CT, names.instance(1)), (CT, names.instance(2))
            )
            bad = archive.request_commitment(
                "gateway", (CT, names.instance(1)), (CT, names.instance(3))
            )

    assert good["Status"] == "Success", good
    assert bad["Status"] == "Failure", bad
    assert [one["SOPInstanceUID"] for one in bad["Failures"]] == [names.instance(3)]
