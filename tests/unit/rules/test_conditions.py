"""The language decides as a plain reading of the same rule would, over all instances."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.positions import parse_yaml
from gateway.rules.conditions import Reason, compile_condition
from gateway.rules.facts import Columns, SeriesFacts
from gateway.rules.model import Condition

Instance = Mapping[int, tuple[str | float, ...]]

TAGS = {
    "Modality": 0x00080060,
    "ImageType": 0x00080008,
    "SliceThickness": 0x00180050,
    "SeriesDescription": 0x0008103E,
    "PatientID": 0x00100020,
    "StudyDate": 0x00080020,
    "StudyTime": 0x00080030,
    "Rows": 0x00280010,
    "SOPClassUID": 0x00080016,
    "PatientName": 0x00100010,
    "ReferencedImageSequence": 0x00081140,
    "ImageOrientationPatient": 0x00200037,
}
AXIAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1)


def instance(**values: Any) -> Instance:
    return {
        TAGS[name]: value if isinstance(value, tuple) else (value,)
        for name, value in values.items()
    }


def explained(when: str, facts: SeriesFacts) -> Reason:
    document = parse_yaml(Path("rule.yaml"), when, as_written=True)[0]
    wrong: list[str] = []
    condition = compile_condition(
        Condition.model_validate(document.data), (), lambda _, message: wrong.append(message)
    )
    assert wrong == []
    return condition.explain(Columns(facts=facts))


def holds(when: str, *instances: Instance, **facts: Any) -> bool:
    return explained(when, SeriesFacts(instances=instances, **facts)).holds


@pytest.mark.parametrize(
    ("when", "values", "expected"),
    [
        ("Modality: CT", {"Modality": "CT"}, True),
        ("Modality: ct", {"Modality": "CT "}, True),
        ("Modality: CT", {"Modality": "MR"}, False),
        ("Modality: CT", {}, False),
        ("Modality: NO", {"Modality": "NO"}, True),
        ("SeriesDescription: thorax", {"SeriesDescription": "Thorax"}, False),
        ("PatientID: 00123", {"PatientID": "00123"}, True),
        ("PatientID: 00123", {"PatientID": "123"}, False),
        ("PatientID: 1e3", {"PatientID": "1e3"}, True),
        ("SliceThickness: 3", {"SliceThickness": "3.0"}, True),
        ("SliceThickness: 3", {"SliceThickness": 3.0}, True),
        ("SliceThickness: '3.00'", {"SliceThickness": 3}, True),
        ("SliceThickness: 3", {"SliceThickness": "thick"}, False),
        ("StudyDate: 2024-01-31", {"StudyDate": "20240131"}, True),
        ("SOPClassUID: CTImageStorage", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, True),
        ("PatientName: Doe^Jane", {"PatientName": "Doe^Jane^^"}, True),
        (r"ImageType: ORIGINAL\PRIMARY", {"ImageType": ("ORIGINAL", "PRIMARY")}, True),
        ("ImageType: ORIGINAL", {"ImageType": ("ORIGINAL", "PRIMARY")}, False),
        ("ImageType: {contains: original}", {"ImageType": ("ORIGINAL", "PRIMARY")}, True),
        ("ImageType: {contains: [PRIMARY, X]}", {"ImageType": ("ORIGINAL", "PRIMARY")}, False),
        ("ImageType: {contains: PRIM}", {"ImageType": ("ORIGINAL", "PRIMARY")}, False),
        ("Modality: {in: [MR, ct]}", {"Modality": "CT"}, True),
        ("Modality: {in: [MR, PT]}", {"Modality": "CT"}, False),
        ("Modality: {in: [MR, PT]}", {}, False),
        ("Modality: {not_in: [MR, PT]}", {"Modality": "CT"}, True),
        ("Modality: {not_in: [MR, CT]}", {"Modality": "CT"}, False),
        ("Modality: {not_in: [MR]}", {}, True),
        ("ImageType: {in: [A, B]}", {"ImageType": ("A", "B")}, True),
        ("ImageType: {in: [A, B]}", {"ImageType": ("A", "C")}, False),
        ("ImageType: {not_in: [A, B]}", {"ImageType": ("A", "C")}, False),
        ("SeriesDescription: {matches: portal|ven}", {"SeriesDescription": "1 venous"}, True),
        ("SeriesDescription: {matches: ^ven}", {"SeriesDescription": "1 venous"}, False),
        ('SeriesDescription: {matches: "(?i)VEN"}', {"SeriesDescription": "1 venous"}, True),
        ("SeriesDescription: {matches: '.*'}", {}, False),
        ("ImageType: {matches: 'ORIG.*PRIM'}", {"ImageType": ("ORIGINAL", "PRIMARY")}, True),
        ("Modality: {exists: true}", {"Modality": "CT"}, True),
        ("Modality: {exists: true}", {"Modality": ()}, False),
        ("Modality: {exists: true}", {"Modality": ""}, False),
        ("Modality: {exists: false}", {}, True),
        ("ReferencedImageSequence: {exists: true}", {"ReferencedImageSequence": (1, 2)}, True),
        ("SliceThickness: {at_least: 3}", {"SliceThickness": "3"}, True),
        ("SliceThickness: {at_least: 3}", {"SliceThickness": "2.99"}, False),
        ("SliceThickness: {at_most: 3}", {"SliceThickness": "10"}, False),
        ("SliceThickness: {at_most: 3}", {}, False),
        ("SliceThickness: {at_least: 1, at_most: 3}", {"SliceThickness": "2"}, True),
        ("SliceThickness: {between: [1, 3]}", {"SliceThickness": "3"}, True),
        ("SliceThickness: {between: [1, 3]}", {"SliceThickness": "0.9"}, False),
        ("StudyDate: {after: 2024-01-01}", {"StudyDate": "20240102"}, True),
        ("StudyDate: {after: 2024-01-01}", {"StudyDate": "20240101"}, False),
        ("StudyDate: {before: 20240101}", {"StudyDate": "20231231"}, True),
        ("StudyDate: {before: 20240101}", {"StudyDate": "soon"}, False),
        ("StudyTime: {between: ['22:00', '23:59']}", {"StudyTime": "223000.12"}, True),
        ("(0018,0050): 3", {"SliceThickness": "3"}, True),
        ("Modality: CT\nRows: 512", {"Modality": "CT", "Rows": 256}, False),
        ("not: {Modality: CT}", {"Modality": "CT"}, False),
        ("not: {Modality: CT}", {}, True),
        ("any: [{Modality: CT}, {Rows: 256}]", {"Modality": "MR", "Rows": 256}, True),
        ("any: [{Modality: CT}, {Rows: 256}]", {"Modality": "MR", "Rows": 1}, False),
        ("orientation: axial", {"ImageOrientationPatient": AXIAL}, True),
        ("orientation: {in: [coronal, Sagittal]}", {"ImageOrientationPatient": SAGITTAL}, True),
        ("orientation: axial", {}, False),
    ],
)
def test_a_test_holds(when: str, values: dict[str, Any], expected: bool) -> None:
    assert holds(when, instance(**values)) is expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("calling_ae: CT1", True),
        ("calling_ae: ct1", False),
        ("calling_ae: {in: [CT1, CT2]}", True),
        ("called_ae: {matches: ^GATE}", True),
        ("source: {exists: false}", True),
        ("not: {source: research}", True),
        ("instances: {at_least: 2}", True),
        ("instances: {at_least: 3}", False),
        ("instances: 2", True),
        ("transfer_syntax: ExplicitVRLittleEndian", True),
        ("transfer_syntax: {in: [1.2.840.10008.1.2, JPEG2000Lossless]}", False),
    ],
)
def test_a_fact_of_the_node_holds(when: str, expected: bool) -> None:
    series = [instance(Modality="CT"), instance(Modality="CT")]
    syntaxes = ["1.2.840.10008.1.2.1"] * 2
    facts = {"calling_ae": "CT1", "called_ae": "GATEWAY", "transfer_syntaxes": syntaxes}
    assert holds(when, *series, **facts) is expected


class TestEveryInstanceCounts:
    """One instance of another kind must not let a rule match by luck."""

    localizer = instance(ImageType=("ORIGINAL", "PRIMARY", "LOCALIZER"), SliceThickness="10")
    slices = (instance(ImageType=("ORIGINAL", "PRIMARY", "AXIAL"), SliceThickness="1"),) * 39

    @pytest.mark.parametrize("place", [0, 20, 39])
    @pytest.mark.parametrize(
        "when",
        [
            "ImageType: {contains: AXIAL}",
            "SliceThickness: {at_most: 3}",
            "not: {ImageType: {contains: LOCALIZER}}",
            "ImageType: {not_in: [LOCALIZER]}",
            "any: [{ImageType: {contains: AXIAL}}, {SliceThickness: 10}]",
            "not: {any: [{ImageType: {contains: LOCALIZER}}, {SliceThickness: {at_least: 5}}]}",
        ],
    )
    def test_a_localizer_among_the_slices_stops_the_rule(self, when: str, place: int) -> None:
        mixed = [*self.slices[:place], self.localizer, *self.slices[place:]]
        assert holds(when, *self.slices)
        assert not holds(when, *mixed)

    def test_a_mixed_series_meets_neither_a_test_nor_its_opposite(self) -> None:
        mixed = [*self.slices, self.localizer]
        assert not holds("SliceThickness: 1", *mixed)
        assert not holds("not: {SliceThickness: 1}", *mixed)

    @pytest.mark.parametrize(
        ("when", "expected"),
        [
            ("ImageType: {contains: LOCALIZER, some: true}", True),
            ("ImageType: {contains: SCOUT, some: true}", False),
            ("not: {ImageType: {contains: LOCALIZER, some: true}}", False),
            ("not: {ImageType: {contains: SCOUT, some: true}}", True),
            ("SliceThickness: {at_most: 3, share: 0.975}", True),
            ("SliceThickness: {at_most: 3, share: 0.98}", False),
            ("not: {SliceThickness: {at_most: 3, share: 0.98}}", True),
            ("not: {SliceThickness: {at_most: 3, share: 0.975}}", False),
        ],
    )
    def test_some_and_share_say_otherwise(self, when: str, expected: bool) -> None:
        assert holds(when, *self.slices, self.localizer) is expected

    def test_a_series_without_instances_meets_no_test_of_an_attribute(self) -> None:
        assert not holds("Modality: CT")
        assert not holds("not: {Modality: CT}")
        assert not holds("Modality: {exists: false}")


class TestReasons:
    def lines(self, when: str, *instances: Instance, **facts: Any) -> list[str]:
        return list(explained(when, SeriesFacts(instances=instances, **facts)).lines())

    def test_a_reason_says_what_held(self) -> None:
        assert self.lines("Modality: CT", instance(Modality="CT")) == ["Modality is CT: holds"]

    def test_a_reason_counts_the_values_that_speak_against(self) -> None:
        series = [instance(SliceThickness=5.0)] * 12 + [instance(SliceThickness=1.0)] * 27 + [{}]
        assert self.lines("SliceThickness: {at_most: 3}", *series) == [
            "SliceThickness at most 3: 5.0 in 12 of 40 instances, missing in 1 of 40 instances"
        ]

    def test_many_values_are_cut_short(self) -> None:
        series = [instance(Rows=number) for number in range(9)]
        line = self.lines("Rows: 512", *series)[0]
        assert line.count("1 of 9 instances") == 3
        assert line.endswith("6 other values")

    def test_a_group_names_its_parts(self) -> None:
        when = "any: [{Modality: MR}, {not: {Rows: 512}}]"
        assert self.lines(when, instance(Modality="CT", Rows=512)) == [
            "any of: does not hold",
            "  Modality is MR: CT in the only instance",
            "  not (Rows is 512): 512 in the only instance",
        ]

    def test_a_fact_of_the_series_is_not_counted(self) -> None:
        assert self.lines("calling_ae: CT1", instance(), calling_ae="WS9") == [
            "calling_ae is CT1: WS9"
        ]

    def test_control_characters_and_long_values_are_not_repeated(self) -> None:
        line = self.lines("SeriesDescription: x", instance(SeriesDescription="\x1b[2J" + "y" * 99))
        assert "\x1b" not in line[0]
        assert len(line[0]) < 120

    @pytest.mark.parametrize("negated", [False, True])
    @pytest.mark.parametrize(
        ("keyword", "test", "value"),
        [
            ("PatientName", "Doe^Jane", "Doe^Jane"),
            ("PatientName", "{matches: Roe}", "Doe^Jane"),
            ("PatientID", "{in: [4711, 4712]}", "4711"),
            ("PatientID", "{not_in: [4711]}", "4711"),
        ],
    )
    def test_a_reason_never_tells_who_the_patient_is(
        self, keyword: str, test: str, value: str, negated: bool
    ) -> None:
        when = f"{keyword}: {test}"
        when = f"not: {{{when}}}" if negated else when
        told = "".join(self.lines(when, instance(**{keyword: value}), instance()))
        assert not any(secret in told for secret in ("Doe", "Roe", "4711", "4712"))
        assert keyword in told


# A plain reference: rules as nested data, read the slow and obvious way.

WORDS = {
    "Modality": ["CT", "MR", "PT", "ct"],
    "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
    "SliceThickness": ["1", "2.5", "3", "3.0"],
}
VALUES = {
    "Modality": st.sampled_from([(), ("CT",), ("MR",), ("PT",)]),
    "ImageType": st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "LOCALIZER"]), max_size=3).map(
        tuple
    ),
    "SliceThickness": st.sampled_from([(), ("1",), (2.5,), ("3.0",), ("thick",)]),
}
series = st.lists(st.fixed_dictionaries({}, optional=VALUES), max_size=4)


def numbers_or_codes(keyword: str, values: Sequence[str | float]) -> list[Any]:
    if keyword != "SliceThickness":
        return [str(value).upper() for value in values]
    return [None if value == "thick" else float(value) for value in values]


def passes(keyword: str, test: dict[str, Any], one: Mapping[str, tuple[Any, ...]]) -> bool:
    values = numbers_or_codes(keyword, one.get(keyword, ()))
    results = []
    for operator, operand in test.items():
        if operator in ("some", "share"):
            continue
        if operator == "exists":
            results.append((values != []) == (operand == "true"))
            continue
        wanted = numbers_or_codes(keyword, operand if isinstance(operand, list) else [operand])
        results.append(
            {
                "equals": values == wanted,
                "in": values != [] and all(value in wanted for value in values),
                "not_in": not any(value in wanted for value in values),
                "contains": all(one in values for one in wanted),
                "at_least": values != [] and all(v is not None and v >= wanted[0] for v in values),
                "at_most": values != [] and all(v is not None and v <= wanted[0] for v in values),
            }[operator]
        )
    return all(results)


def reference(condition: dict[str, Any], instances: list[Any], negated: bool) -> bool:
    results = []
    for key, inner in condition.items():
        if key == "not":
            results.append(reference(inner, instances, not negated))
        elif key in ("all", "any"):
            combine = all if (key == "all") != negated else any
            results.append(combine(reference(one, instances, negated) for one in inner))
        else:
            test = inner if isinstance(inner, dict) else {"equals": inner}
            passed = [passes(key, test, one) for one in instances]
            if test.get("some") == "true":
                result = any(passed) != negated
            elif "share" in test:
                result = (
                    passed.count(True) / max(len(passed), 1) >= float(test["share"])
                ) != negated
            else:
                result = not any(passed) if negated else all(passed)
            results.append(bool(passed) and result)
    return any(results) if negated else all(results)


def any_test_of(keyword: str) -> st.SearchStrategy[Any]:
    word = st.sampled_from(WORDS[keyword])
    words = st.lists(word, min_size=1, max_size=3)
    operators: dict[str, st.SearchStrategy[Any]] = {
        "equals": word,
        "in": words,
        "not_in": words,
        "exists": st.just("true"),
    }
    if keyword == "SliceThickness":
        operators |= {"at_least": word, "at_most": word}
    if keyword == "ImageType":
        operators |= {"contains": words}
    several = st.fixed_dictionaries({}, optional=operators).filter(bool)
    how_many = st.sampled_from([{}, {}, {"some": "true"}, {"share": "0.5"}, {"share": "0.7"}])
    mapping = st.tuples(several, how_many).map(lambda both: {**both[0], **both[1]})
    return st.one_of(word, mapping, st.just({"exists": "false"}))


single = st.one_of([st.fixed_dictionaries({keyword: any_test_of(keyword)}) for keyword in WORDS])
conditions = st.recursive(
    single,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
        st.tuples(inner, single).map(lambda both: both[0] | both[1]),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(conditions, series)
def test_every_rule_decides_as_the_plain_reference(condition: dict[str, Any], given: Any) -> None:
    wrong: list[str] = []
    compiled = compile_condition(
        Condition.model_validate(condition), (), lambda _, message: wrong.append(message)
    )
    facts = SeriesFacts(instances=[instance(**one) for one in given])
    reason = compiled.explain(Columns(facts=facts))
    assert wrong == []
    assert reason.holds == reference(condition, given, negated=False)


@settings(max_examples=60, deadline=None)
@given(conditions, series)
def test_the_order_of_instances_never_matters(condition: dict[str, Any], given: Any) -> None:
    compiled = compile_condition(Condition.model_validate(condition), (), lambda *_: None)
    verdicts = {
        compiled.explain(
            Columns(facts=SeriesFacts(instances=[instance(**one) for one in order]))
        ).holds
        for order in itertools.permutations(given)
    }
    assert len(verdicts) == 1
