"""What a node answered, instance by instance, and what becomes of the job."""

import pytest
from pydicom.uid import Comprehensive3DSRStorage

from gateway.dimse.user import SendOutcome, SendResult
from gateway.errors import NotFound, PeerRefused, PeerUnavailable
from gateway.inference import Output, forms_for
from gateway.inference.forms import report_form
from gateway.settings import DicomwebNode, DimseNode, ResultSettings
from gateway.store import Job, JobAction, JobState, NodeStore, Offer
from gateway.workflow.delivery import Deliverer
from gateway.workflow.dimse_delivery import summary
from tests.unit.dimse.peer import StoringPeer
from tests.unit.store.samples import CT, EXPLICIT, SERIES, encoded, offer, origin

STORED, BUSY, REFUSED = SendOutcome.STORED, SendOutcome.BUSY, SendOutcome.REFUSED


def sent(outcome: SendOutcome, number: int, detail: str = "") -> list[SendResult]:
    return [
        SendResult(sop_instance_uid=f"{outcome}.{n}", outcome=outcome, detail=detail)
        for n in range(number)
    ]


@pytest.mark.parametrize(
    ("confirmed", "results", "state", "error"),
    [
        (0, sent(STORED, 500), JobState.DONE, ""),
        (500, [], JobState.DONE, ""),
        (0, [], JobState.DONE, ""),
        (
            0,
            sent(STORED, 498) + sent(BUSY, 2, "A700H disk full"),
            JobState.WAITING,
            "498 of 500 delivered: A700H disk full",
        ),
        (
            498,
            sent(REFUSED, 2, "A900H"),
            JobState.DEAD,
            "498 of 500 delivered: A900H",
        ),
        (
            0,
            sent(STORED, 1) + sent(REFUSED, 1, "A900H") + sent(BUSY, 1, "A700H"),
            JobState.WAITING,
            "1 of 3 delivered: A900H; A700H",
        ),
        (
            0,
            [one for n in range(5) for one in sent(REFUSED, 1, f"C00{n}H")],
            JobState.DEAD,
            "0 of 5 delivered: C000H; C001H; C002H and 2 more",
        ),
    ],
    ids=["all", "all-before", "nothing-to-do", "busy", "refused", "both", "many-reasons"],
)
def test_the_table_of_summaries(
    confirmed: int, results: list[SendResult], state: JobState, error: str
) -> None:
    before = [f"before.{number}" for number in range(confirmed)]

    attempt = summary(before, results, total=confirmed + len(results))

    assert (attempt.state, attempt.error) == (state, error)
    stored = [one.sop_instance_uid for one in results if one.outcome is STORED]
    assert attempt.results == (*before, *stored)


def job(**values: object) -> Job:
    described: dict[str, object] = {
        "id": "a",
        "series_instance_uid": SERIES,
        "revision": 1,
        "rule": "r",
        "action": JobAction.FORWARD,
        "node": "pacs",
        **values,
    }
    return Job(**described)  # type: ignore[arg-type]


def test_a_forward_sends_the_current_contents_byte_for_byte(store: NodeStore) -> None:
    corrected = offer(1, SeriesDescription="corrected")
    for one in (offer(1), corrected, offer(2)):
        store.intake.keep(one, origin())

    with StoringPeer() as peer:
        attempt = Deliverer(store, {"pacs": peer.node}, "GATEWAY").attempt(job())

    assert attempt.state is JobState.DONE
    assert peer.received == {one.sop_instance_uid: one.data_set for one in (corrected, offer(2))}


def test_another_attempt_sends_only_what_is_not_confirmed(store: NodeStore) -> None:
    for number in (1, 2, 3):
        store.intake.keep(offer(number), origin())
    answers = {f"{SERIES}.2": 0xA700}

    with StoringPeer(answer=lambda uid, _: answers.pop(uid, 0)) as peer:
        deliverer = Deliverer(store, {"pacs": peer.node}, "GATEWAY")
        first = deliverer.attempt(job())
        assert (first.state, first.error) == (JobState.WAITING, "2 of 3 delivered: A700H")
        peer.received.clear()
        second = deliverer.attempt(job(results=first.results))

    assert second.state is JobState.DONE
    assert list(peer.received) == [f"{SERIES}.2"]
    assert set(second.results) == {f"{SERIES}.{number}" for number in (1, 2, 3)}


def test_a_delivery_sends_what_its_segment_job_made(store: NodeStore) -> None:
    made = offer(1, series="2.25.50")
    store.intake.keep(offer(1), origin())
    store.intake.keep(made, origin(source="result"))
    store.jobs.add([job(id="segment", action=JobAction.SEGMENT)])
    store.jobs.ended("segment", JobState.DONE, results=[made.sop_instance_uid])

    with StoringPeer() as peer:
        attempt = Deliverer(store, {"pacs": peer.node}, "GATEWAY").attempt(
            job(action=JobAction.DELIVER, parent_id="segment")
        )

    assert attempt.results == (made.sop_instance_uid,)
    assert peer.received == {made.sop_instance_uid: made.data_set}


def test_a_node_that_is_off_is_tried_again_and_one_that_is_gone_is_not(store: NodeStore) -> None:
    store.intake.keep(offer(1), origin())
    with StoringPeer() as peer:
        off = peer.node
    with pytest.raises(PeerUnavailable):
        Deliverer(store, {"pacs": off}, "GATEWAY").attempt(job())
    with pytest.raises(PeerRefused, match="'pacs' is no longer in the settings"):
        Deliverer(store, {}, "GATEWAY").attempt(job())
    web = DicomwebNode(kind="dicomweb", url="https://vna.example/dicom-web")
    with pytest.raises(PeerRefused, match="of kind dicomweb"):
        Deliverer(store, {"pacs": web}, "GATEWAY").attempt(job())


def test_a_delivery_without_a_result_is_not_called_done(store: NodeStore) -> None:
    """A result that the index no longer has was not delivered."""
    store.jobs.add([job(id="segment", action=JobAction.SEGMENT)])
    store.jobs.ended("segment", JobState.DONE, results=["1.2.3"])
    node = DimseNode(kind="dimse", ae_title="PACS", host="127.0.0.1", port=104)
    deliver = job(action=JobAction.DELIVER, parent_id="segment")
    with pytest.raises(NotFound, match="no longer kept"):
        Deliverer(store, {"pacs": node}, "GATEWAY").attempt(deliver)


def test_a_node_gets_results_in_the_forms_that_it_takes(store: NodeStore) -> None:
    """Two nodes, and of each kind of object one for each."""
    usual = ResultSettings(outputs=("seg",))
    compressed = ResultSettings(
        outputs=("seg",), transfer_syntax="deflated-explicit-vr-little-endian"
    )
    made = []
    for settings in (usual, compressed):
        [form] = forms_for([Output.SEG], settings)
        series, uid = form.series_instance_uid(["p"]), form.sop_instance_uid(["p"])
        made.append(result(uid, series))
        store.intake.keep(made[-1], origin(source="result"))
    store.jobs.add([job(id="segment", action=JobAction.SEGMENT)])
    results = [one.sop_instance_uid for one in made]
    store.jobs.ended("segment", JobState.DONE, results=results)
    deliver = job(action=JobAction.DELIVER, parent_id="segment")

    for settings, expected in ((usual, made[0]), (compressed, made[1])):
        with StoringPeer() as peer:
            node = peer.node.model_copy(update={"results": settings})
            other = peer.node.model_copy(update={"results": usual})
            third = peer.node.model_copy(update={"results": compressed})
            nodes = {"pacs": node, "other": other, "third": third}
            attempt = Deliverer(store, nodes, "GATEWAY").attempt(deliver)
        assert attempt.results == (expected.sop_instance_uid,)
        assert list(peer.received) == [expected.sop_instance_uid]

    with StoringPeer() as peer:
        only_reports = ResultSettings(outputs=("sr",))
        node = peer.node.model_copy(update={"results": only_reports})
        nodes = {"pacs": node, "other": other, "third": third}
        with pytest.raises(PeerRefused, match="takes none of the 2 objects"):
            Deliverer(store, nodes, "GATEWAY").attempt(deliver)


def test_a_report_that_nothing_was_found_is_not_missed_by_who_takes_none(store: NodeStore) -> None:
    reports, images = ResultSettings(outputs=("sr",)), ResultSettings(outputs=("seg",))
    [form] = report_form(reports)
    made = result(
        form.sop_instance_uid(["p"]), form.series_instance_uid(["p"]), Comprehensive3DSRStorage
    )
    store.intake.keep(made, origin(source="result"))
    store.jobs.add([job(id="segment", action=JobAction.SEGMENT)])
    store.jobs.ended("segment", JobState.DONE, results=[made.sop_instance_uid])
    deliver = job(action=JobAction.DELIVER, parent_id="segment")
    with StoringPeer() as peer:
        node = peer.node.model_copy(update={"results": images})
        other = peer.node.model_copy(update={"results": reports})
        attempt = Deliverer(store, {"pacs": node, "other": other}, "GATEWAY").attempt(deliver)
    assert (attempt.state, attempt.results) == (JobState.DONE, ())
    assert peer.received == {}


def result(sop_instance_uid: str, series_instance_uid: str, sop_class_uid: str = CT) -> Offer:
    """Offer an object under UIDs that its form gave it."""
    return Offer(
        data_set=encoded(
            SOPClassUID=sop_class_uid,
            SOPInstanceUID=sop_instance_uid,
            SeriesInstanceUID=series_instance_uid,
        ),
        transfer_syntax_uid=EXPLICIT,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
    )


def test_where_a_model_made_nothing_there_is_nothing_to_deliver(store: NodeStore) -> None:
    store.jobs.add([job(id="segment", action=JobAction.SEGMENT)])
    store.jobs.ended("segment", JobState.DONE, results=[])
    node = DimseNode(kind="dimse", ae_title="PACS", host="127.0.0.1", port=104)
    deliver = job(action=JobAction.DELIVER, parent_id="segment")
    attempt = Deliverer(store, {"pacs": node}, "GATEWAY").attempt(deliver)
    assert (attempt.state, attempt.results) == (JobState.DONE, ())
