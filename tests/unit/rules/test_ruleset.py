"""A folder of rule files is taken as a whole, or every mistake in it is named at its place."""

import hashlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigurationInvalid
from gateway.rules import Forward, RuleSet, Segment, SeriesFacts, load_rules

MODALITY = 0x00080060
FULL = """\
rule: spleen-on-portal-venous-ct
description: Portal-venous abdominal CT gets a spleen segmentation
enabled: true
when:
  all:
    - Modality: CT
    - BodyPartExamined: {in: [ABDOMEN, CHESTABDPELVIS]}
    - SeriesDescription: {matches: "(?i)portal|venous"}
    - SliceThickness: {at_most: 3}
    - any:
        - ImageType: {contains: ORIGINAL}
        - ImageType: {exists: false}
    - not: {BurnedInAnnotation: "YES"}
    - calling_ae: {in: [CT1, CT2]}
    - orientation: axial
    - instances: {at_least: 20}
then:
  - segment: {model: spleen_ct_segmentation, send_to: [pacs]}
  - forward: {to: [cloud]}
"""


def rule(
    name: str = "r", when: str = "{Modality: CT}", then: str = "{forward: {to: [pacs]}}"
) -> str:
    return f"rule: {name}\nwhen: {when}\nthen:\n  - {then}\n"


def load(folder: Path, text: str, *, nodes: set[str] | None = None) -> RuleSet:
    (folder / "10.yaml").write_text(text)
    return load_rules(folder, nodes=nodes, models=None)


def problems_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationInvalid) as raised:
        load(folder, text, nodes={"pacs", "vna"})
    return [str(one).removeprefix(f"{folder}/") for one in raised.value.problems]


def test_the_rule_of_the_handbook_takes_its_series(tmp_path: Path) -> None:
    rules = load(tmp_path, FULL)
    slice_ = {
        MODALITY: ("CT",),
        0x00180015: ("ABDOMEN",),
        0x0008103E: ("ABD venous 1.0",),
        0x00180050: ("1.0",),
        0x00080008: ("ORIGINAL", "PRIMARY"),
        0x00280301: ("NO",),
        0x00200037: (1, 0, 0, 0, 1, 0),
    }
    facts = SeriesFacts(instances=[slice_] * 20, calling_ae="CT2")
    decision = rules.decide(facts)
    assert [(one.rule, one.index, type(one.action)) for one in decision.actions] == [
        ("spleen-on-portal-venous-ct", 0, Segment),
        ("spleen-on-portal-venous-ct", 1, Forward),
    ]
    assert rules.keywords == set(slice_)
    assert not rules.decide(SeriesFacts(instances=[slice_] * 19, calling_ae="CT2")).actions


def test_a_decision_is_told_as_json(tmp_path: Path) -> None:
    decision = load(tmp_path, rule(when="{Modality: CT, Rows: 512}")).decide(
        SeriesFacts(instances=[{MODALITY: ("CT",), 0x00280010: (256,)}])
    )
    assert json.loads(json.dumps(decision.to_json())) == [
        {
            "rule": "r",
            "matched": False,
            "reasons": ["Modality is CT: holds", "Rows is 512: 256 in the only instance"],
        }
    ]


def test_files_are_read_in_name_order_and_may_hold_several_rules(tmp_path: Path) -> None:
    (tmp_path / "20.yaml").write_text(rule("c"))
    (tmp_path / "10.yml").write_text(f"{rule('a')}---\n{rule('b')}---\n")
    rules = load_rules(tmp_path)
    assert [(one.name, one.path.name, one.line) for one in rules.rules] == [
        ("a", "10.yml", 1),
        ("b", "10.yml", 6),
        ("c", "20.yaml", 1),
    ]
    assert [path.name for path in rules.files] == ["10.yml", "20.yaml"]


def test_backup_hidden_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in (".10.yaml.swp", ".10.yaml", "10.yaml~", "#10.yaml#", "10.yaml.bak", "README.md"):
        (tmp_path / name).write_text("rule: [")
    (tmp_path / "folder.yaml").mkdir()
    assert load_rules(tmp_path).rules == ()


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    first = load(tmp_path, rule())
    assert len(first.digest) == hashlib.sha256().digest_size * 2
    assert load(tmp_path, rule()).digest == first.digest
    assert load(tmp_path, f"{rule()}# more\n").digest != first.digest
    (tmp_path / "10.yaml").rename(tmp_path / "11.yaml")
    assert load_rules(tmp_path).digest != first.digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "10.yaml:1:1: the file is empty"),
        ("just words\n", "10.yaml:1:1: must be a group of keys, not 'just words'"),
        ("- rule: x\n", "10.yaml:1:1: must be a group of keys, not a list"),
        (rule(when="{Modalty: CT}"), "10.yaml:2:8: `Modalty` is no DICOM keyword and no fact of"),
        (
            rule(when="\n  all:\n    - Modality: CT\n    - BodyPartExamind: {in: [A]}"),
            "10.yaml:5:7: `BodyPartExamind` is no DICOM keyword and no fact of the node; "
            "did you mean `BodyPartExamined`?",
        ),
        (
            rule(when="{Modality: {not-in: [CT]}}"),
            "10.yaml:2:19: unknown key `not-in`; did you mean `not_in`?",
        ),
        (rule(when="{Modality: {}}"), "10.yaml:2:8: Modality: nothing is tested"),
        (rule(when="{Modality: }"), "10.yaml:2:8: Modality: a value is missing"),
        (rule(when="{Modality: {in: CT}}"), "10.yaml:2:19: in: must be a list, not 'CT'"),
        (rule(when="{Modality: {in: []}}"), "10.yaml:2:19: in: must be at least 1 long"),
        (rule(when="{Modality: [CT, MR]}"), "10.yaml:2:8: Modality: a list needs a test"),
        (rule(when="{Rows: {at_least: many}}"), "10.yaml:2:15: Rows: 'many' is no number"),
        (rule(when="{Rows: {in: [1, x]}}"), "10.yaml:2:23: Rows: 'x' is no number"),
        (rule(when="{Rows: {matches: 5}}"), "10.yaml:2:15: matches: this test is for text"),
        (rule(when="{Rows: {between: [5]}}"), "10.yaml:2:15: between: must be at least 2 long"),
        (rule(when="{Rows: {between: [5, 1]}}"), "10.yaml:2:15: between: the first bound is"),
        (
            rule(when="{StudyDate: {at_least: 5}}"),
            "10.yaml:2:20: at_least: this test is for numbers, and StudyDate holds dates; "
            "use before, after or between",
        ),
        (rule(when="{StudyDate: {after: -7d}}"), "10.yaml:2:20: StudyDate: '-7d' is no date"),
        (rule(when="{SeriesDescription: {contains: x}}"), "10.yaml:2:28: contains: Series"),
        (
            rule(when="{SeriesDescription: {matches: '(x'}}"),
            "10.yaml:2:28: matches: this is no regular expression",
        ),
        (rule(when="{SeriesDescription: {matches: '(x+)+'}}"), "10.yaml:2:28: matches: searching"),
        (rule(when="{Modality: {exists: yes}}"), "10.yaml:2:19: exists: must be true or false"),
        (rule(when="{Modality: {exists: false, in: [A]}}"), "10.yaml:2:8: Modality: exists: fal"),
        (rule(when="{Modality: {equals: CT, share: 2}}"), "10.yaml:2:31: share: must be at most"),
        (rule(when="{instances: {at_least: 2, some: true}}"), "10.yaml:2:8: instances is a fact"),
        (rule(when="{orientation: axail}"), "10.yaml:2:8: orientation: 'axail' is none of"),
        (rule(when="{has_gaps: false}"), "10.yaml:2:8: `has_gaps` is not part of this version"),
        (rule(when="{}"), "10.yaml:2:1: when: no condition is given"),
        (rule(when="{all: []}"), "10.yaml:2:8: all: must be at least 1 long"),
        (rule(when="{all: }"), "10.yaml:2:8: all: must be a list, not nothing"),
        (rule(when="{not: }"), "10.yaml:2:8: not: must be a list"),
        (rule(then="{segmnt: {}}"), "10.yaml:4:6: unknown key `segmnt`; did you mean `segment`?"),
        (rule(then="{discard: }"), "10.yaml:4:6: `discard` is not part of this version"),
        (rule(then="{forward: }"), "10.yaml:4:5: then: an item of `then` is one action"),
        (
            rule(then="{forward: {to: [pasc]}}"),
            "10.yaml:4:21: there is no node `pasc`; did you mean `pacs`?",
        ),
        (rule(then="{forward: {to: [pacs, pacs]}}"), "10.yaml:4:16: to: `pacs` is named twice"),
        (
            rule(then="{forward: {to: [pacs], deidentify: full}}"),
            "10.yaml:4:28: deidentify: must be one of basic, not 'full'",
        ),
        (
            rule(then="{forward: {to: [pacs], reidentify: maybe}}"),
            "10.yaml:4:28: reidentify: must be true or false",
        ),
        (
            rule(then="{forward: {to: [pacs], deidentify: basic, reidentify: true}}"),
            "10.yaml:4:6: forward: `deidentify` and `reidentify` exclude each other",
        ),
        (rule(then="{forward: {too: [pacs]}}"), "10.yaml:4:6: the key `to` is missing"),
        (rule().replace("rule: r", "rule: "), "10.yaml:1:1: rule: must be text, not nothing"),
        (rule("../x"), "10.yaml:1:1: rule: must be text of the form"),
        (rule() + "priority: 3\n", "10.yaml:5:1: `priority` is not part of this version"),
        (rule() + "enabeld: true\n", "10.yaml:5:1: unknown key `enabeld`; did you mean `enabled`?"),
        (rule() + "enabled: on\n", "10.yaml:5:1: enabled: must be true or false"),
        ("rule: a\nwhen: {Modality: CT}\n", "10.yaml:1:1: the key `then` is missing"),
        ("rule: a\n\tb: 1\n", "10.yaml:2:1: a tab"),
    ],
)
def test_a_mistake_is_told_in_words_at_its_place(tmp_path: Path, text: str, expected: str) -> None:
    assert problems_of(tmp_path, text)[0].startswith(expected)


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "20.yaml").write_text(rule("r", when="{Modality: {matchs: x}}"))
    (tmp_path / "30.yaml").write_text("rule: [")
    found = problems_of(tmp_path, rule(when="{Foo: 1, Rows: x}", then="{forward: {to: [x]}}"))
    assert [one.split(": ")[0] for one in found] == [
        "10.yaml:2:8",
        "10.yaml:2:16",
        "10.yaml:4:21",
        "20.yaml:2:19",
        "30.yaml:1:8",
    ]


def test_two_rules_of_one_name_are_both_named(tmp_path: Path) -> None:
    (tmp_path / "05.yaml").write_text(f"# first\n{rule('same')}")
    found = problems_of(tmp_path, rule("same"))
    assert found == [
        f"10.yaml:1:1: there is a rule `same` already, at {tmp_path}/05.yaml:2:1; rename one"
    ]


def test_an_unknown_model_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "10.yaml").write_text(rule(then="{segment: {model: spleen, send_to: [pacs]}}"))
    with pytest.raises(ConfigurationInvalid, match=r":4:16: there is no model `spleen`.*: lung"):
        load_rules(tmp_path, nodes={"pacs"}, models={"lung"})


def test_a_rule_that_is_not_enabled_is_checked_but_may_name_what_is_not_there(
    tmp_path: Path,
) -> None:
    off = f"{rule(then='{forward: {to: [archive]}}')}enabled: false\n"
    rules = load(tmp_path, off, nodes={"pacs"})
    decision = rules.decide(SeriesFacts(instances=[{MODALITY: ("CT",)}]))
    assert decision.actions == ()
    assert decision.to_json()[0]["reasons"] == ["the rule is not enabled"]
    assert rules.keywords == frozenset()
    assert problems_of(tmp_path, off.replace("Modality", "Modalty"))


@pytest.mark.parametrize(
    ("on_late", "ran_before", "acts"),
    [("rerun", True, True), ("ignore", True, False), ("ignore", False, True), ("", True, True)],
)
def test_a_rule_says_whether_it_acts_again_when_instances_come_late(
    tmp_path: Path, on_late: str, ran_before: bool, acts: bool
) -> None:
    line = f"on_late: {on_late}\n" if on_late else ""
    rules = load(tmp_path, rule("late") + line + "---\n" + rule("other"))
    facts = SeriesFacts(instances=[{MODALITY: ("CT",)}])

    decision = rules.decide(facts, ran_before={"late"} if ran_before else ())

    assert [one.rule for one in decision.actions] == (["late", "other"] if acts else ["other"])
    late = decision.to_json()[0]
    assert late["matched"] is acts
    assert ("on_late is ignore" in str(late["reasons"])) is not acts


def test_what_on_late_may_say_is_told(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, rule() + "on_late: never\n")
    assert problem.startswith("10.yaml:5:1: on_late: ")
    assert "rerun" in problem
    assert "ignore" in problem


def test_a_missing_folder_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="cannot be read"):
        load_rules(tmp_path / "none")


def test_a_thousand_rules_decide_quickly_on_a_series_of_two_thousand(tmp_path: Path) -> None:
    when = "{Modality: CT, SliceThickness: {at_most: 3}, SeriesDescription: {matches: '(?i)ven'}}"
    (tmp_path / "10.yaml").write_text("---\n".join(rule(f"r{n}", when=when) for n in range(50)))
    rules = load_rules(tmp_path)
    many = RuleSet(rules=rules.rules * 20, digest="", files=())
    one = {MODALITY: ("CT",), 0x00180050: ("1",), 0x0008103E: ("portal venous",)}
    facts = SeriesFacts(instances=[one] * 2000)
    started = time.process_time()
    assert len(many.decide(facts).actions) == 1000
    assert time.process_time() - started < 1


PIECES = [
    *("rule: ", "when: ", "then: ", "all: ", "any: ", "not: ", "Modality: ", "Rows: ", "- "),
    *("in: ", "matches: ", "at_least: ", "exists: ", "share: ", "forward: ", "to: ", "segment: "),
    *("[", "]", "{", "}", ", ", "\n", "\n  ", "\n    ", "CT", "3", "true", "(a+)+", '"', "'", "~"),
    *("---\n", "&a ", "*a", "!x ", "|\n", "\t", "# ", "(0018,0050): ", "\x00", "\u00e9", "pacs"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rules")


def places(folder: Path) -> list[tuple[int, int]]:
    try:
        rules = load_rules(folder, nodes={"pacs"}, models=set())
    except ConfigurationInvalid as error:
        return [(one.line, one.column) for one in error.problems] or [(0, 0)]
    return [(one.line, 1) for one in rules.rules]


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=25))
def test_no_file_ends_in_a_traceback(folder: Path, pieces: list[str]) -> None:
    (folder / "fuzz.yaml").write_text("".join(pieces))
    assert all(line >= 1 and column >= 1 for line, column in places(folder))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_good_file_ends_in_a_traceback(folder: Path, data: st.DataObject) -> None:
    good = FULL.encode()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(start + 30, len(good))))
    put = data.draw(st.sampled_from([piece.encode() for piece in PIECES]) | st.binary(max_size=5))
    (folder / "fuzz.yaml").write_bytes(good[:start] + put + good[end:])
    assert all(line >= 1 and column >= 1 for line, column in places(folder))
