"""From a decision to jobs: each named after what it follows from, entered once."""

from functools import partial
from pathlib import Path

import pytest

from gateway.rules import Decision, Forward, PlannedAction, Segment, load_rules
from gateway.store import IdentityChange, JobAction, JobState, NodeStore, SeriesState
from gateway.workflow.routing import Router, deliveries_of, job_id, jobs_of
from tests.unit.store.completing import complete
from tests.unit.store.samples import PATIENT, SERIES, offer, origin

DECISION = Decision(
    digest="d",
    outcomes=(),
    actions=(
        PlannedAction(rule="a", index=0, action=Segment(model="m", send_to=("pacs", "vna"))),
        PlannedAction(rule="a", index=1, action=Segment(model="n", send_to=("pacs",))),
        PlannedAction(rule="a", index=2, action=Forward(to=("pacs", "cloud"))),
        PlannedAction(rule="b", index=0, action=Forward(to=("pacs",))),
    ),
)


def test_there_is_a_job_for_each_action_and_node() -> None:
    jobs = jobs_of(DECISION, SERIES, 1)
    assert [(job.rule, job.action, job.model or job.node) for job in jobs] == [
        ("a", JobAction.SEGMENT, "m"),
        ("a", JobAction.SEGMENT, "n"),
        ("a", JobAction.FORWARD, "pacs"),
        ("a", JobAction.FORWARD, "cloud"),
        ("b", JobAction.FORWARD, "pacs"),
    ]
    assert jobs[0].send_to == ("pacs", "vna")
    assert {(job.series_instance_uid, job.revision) for job in jobs} == {(SERIES, 1)}


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (Forward(to=("cloud",)), None),
        (Forward(to=("cloud",), deidentify="basic"), IdentityChange.DEIDENTIFY_BASIC),
        (Forward.model_validate({"to": ["pacs"], "reidentify": "true"}), IdentityChange.REIDENTIFY),
    ],
)
def test_a_job_knows_what_becomes_of_identities(
    store: NodeStore, forward: Forward, expected: IdentityChange | None
) -> None:
    decision = Decision(
        digest="d", outcomes=(), actions=(PlannedAction(rule="a", index=0, action=forward),)
    )
    (job,) = jobs_of(decision, SERIES, 1)
    assert job.identity_change is expected
    store.jobs.add([job])
    assert store.jobs.get(job.id).identity_change is expected


def test_the_same_decision_gives_the_same_ids() -> None:
    assert jobs_of(DECISION, SERIES, 1) == jobs_of(DECISION, SERIES, 1)


def test_no_two_jobs_share_an_id() -> None:
    jobs = [
        job
        for series in (SERIES, "2.25.9")
        for revision in (1, 2)
        for job in jobs_of(DECISION, series, revision)
    ]
    deliveries = [delivery for job in jobs for delivery in deliveries_of(job)]
    assert len(deliveries) == 12
    assert len({one.id for one in (*jobs, *deliveries)}) == len(jobs) + len(deliveries)


def test_where_a_part_of_an_id_ends_makes_a_difference() -> None:
    assert job_id("1.2", 13) != job_id("1.21", 3)
    assert len(job_id("1.2", 1)) == 12


def test_a_delivery_names_its_segment_job_and_node() -> None:
    segment = jobs_of(DECISION, SERIES, 3)[0]
    deliveries = deliveries_of(segment)
    assert [(one.parent_id, one.node, one.revision) for one in deliveries] == [
        (segment.id, "pacs", 3),
        (segment.id, "vna", 3),
    ]
    assert deliveries_of(segment) == deliveries


RULES = """\
rule: {name}
when: {{Modality: {modality}, instances: {{at_least: 2}}}}
then:
  - forward: {{to: [pacs]}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "10.yaml").write_text(RULES.format(name="take-ct", modality="CT"))
    (folder / "20.yaml").write_text(RULES.format(name="take-mr", modality="MR"))
    return folder


@pytest.fixture
def router(store: NodeStore, rules: Path) -> Router:
    for number in (1, 2):
        store.intake.keep(offer(number), origin())
    complete(store)
    return Router(store, partial(load_rules, rules, nodes={"pacs"}))


def test_a_complete_series_gets_its_jobs_and_the_reasons(store: NodeStore, router: Router) -> None:
    (job,) = router.route(SERIES, 1)

    assert (job.rule, job.action, job.node) == ("take-ct", JobAction.FORWARD, "pacs")
    assert [one.id for one in store.jobs.of_series(SERIES)] == [job.id]
    decision = store.series.decision(SERIES)
    assert [(one["rule"], one["matched"]) for one in decision] == [
        ("take-ct", True),
        ("take-mr", False),
    ]
    assert all(one["reasons"] for one in decision)
    assert PATIENT not in str(decision)
    assert store.series.unrouted() == ()
    assert store.series.get(SERIES).state is SeriesState.COMPLETE


def test_routing_again_after_a_crash_changes_nothing(store: NodeStore, router: Router) -> None:
    first = router.route(SERIES, 1)
    before = (store.jobs.all(), store.series.decision(SERIES))

    assert [job.id for job in router.route(SERIES, 1)] == [job.id for job in first]

    assert (store.jobs.all(), store.series.decision(SERIES)) == before


def test_a_crash_between_decision_and_start_does_not_add_another_decisions_jobs(
    store: NodeStore, router: Router, rules: Path
) -> None:
    """The rules may be edited before a killed worker asks a second time."""
    router.route(SERIES, 1)
    (rules / "10.yaml").write_text(RULES.format(name="other-name", modality="CT"))
    router.route(SERIES, 1)
    shown = {one["rule"] for one in store.series.decision(SERIES) if one["matched"]}
    assert {job.rule for job in store.jobs.of_series(SERIES)} == shown


def test_superseded_contents_are_not_counted(store: NodeStore, rules: Path) -> None:
    store.intake.keep(offer(1), origin())
    store.intake.keep(offer(1, SeriesDescription="corrected"), origin())
    complete(store)
    assert Router(store, partial(load_rules, rules, nodes={"pacs"})).route(SERIES, 1) == ()
    assert store.series.get(SERIES).state is SeriesState.DONE


class TestLateInstances:
    """A rule with ``on_late: ignore`` acts once on a series; others act on every revision."""

    @pytest.fixture(autouse=True)
    def _ignoring(self, rules: Path) -> None:
        (rules / "10.yaml").write_text(RULES.format(name="once", modality="CT") + "on_late: ignore")
        (rules / "20.yaml").write_text(RULES.format(name="again", modality="CT"))

    def late(self, store: NodeStore, router: Router) -> list[str]:
        """Let an instance come late; return the rules that act on the new revision."""
        store.intake.keep(offer(3), origin())
        complete(store)
        return [job.rule for job in router.route(SERIES, 2)]

    def test_a_rule_that_ran_is_left_out_with_the_reason(
        self, store: NodeStore, router: Router
    ) -> None:
        assert [job.rule for job in router.route(SERIES, 1)] == ["once", "again"]
        assert self.late(store, router) == ["again"]
        (outcome,) = (one for one in store.series.decision(SERIES) if one["rule"] == "once")
        assert not outcome["matched"]
        assert "on_late is ignore" in str(outcome["reasons"])

    def test_a_rule_that_did_not_match_before_acts(
        self, store: NodeStore, router: Router, rules: Path
    ) -> None:
        matching = (rules / "10.yaml").read_text()
        (rules / "10.yaml").write_text(matching.replace("at_least: 2", "at_least: 3"))
        assert [job.rule for job in router.route(SERIES, 1)] == ["again"]
        assert self.late(store, router) == ["once", "again"]

    def test_a_rule_whose_jobs_ended_badly_acts(self, store: NodeStore, router: Router) -> None:
        for job in router.route(SERIES, 1):
            store.jobs.ended(job.id, JobState.REFUSED, error="a slice is missing")
        assert self.late(store, router) == ["once", "again"]
