"""Which series of a study are a model's inputs, and when no choice can be right."""

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigurationInvalid, InputRefused
from gateway.inference import Model
from gateway.rules import SeriesFacts
from gateway.workflow.inputs import Candidate, InputRules
from tests.unit.inference.zoo import FORMS, zoo_bundle

DESCRIPTION, DATE, TIME = 0x0008103E, 0x00080022, 0x00080032


def candidate(
    uid: str, description: str, *, instances: int = 3, time: str = "1015", is_complete: bool = True
) -> Candidate:
    attributes = {DESCRIPTION: (description,), DATE: ("20260102",), TIME: (time,)}
    facts = SeriesFacts(instances=[attributes] * instances)
    return Candidate(series_instance_uid=uid, facts=facts, is_complete=is_complete)


T1C, T1, T2 = (candidate(f"1.{n}", name) for n, name in enumerate(("t1c", "t1", "t2")))


def model(tmp_path: Path, **second: Any) -> Model:
    """Deploy a model of t1c, t1 and t2; ``second`` changes what its descriptor says of t1."""
    names = ("t1c", "t1", "t2")
    inputs = [{"name": name, "when": {"SeriesDescription": name}} for name in names]
    inputs[1] |= second
    return zoo_bundle(tmp_path, "m", FORMS["channels"], more={"inputs": inputs})


def rules(tmp_path: Path, **second: Any) -> InputRules:
    return InputRules.of(model(tmp_path, **second))


def test_each_input_gets_the_series_that_meets_its_condition(tmp_path: Path) -> None:
    choice = rules(tmp_path).choose([T2, candidate("1.9", "localizer"), T1, T1C], "1.0")
    assert list(choice.chosen.items()) == [("t1c", "1.0"), ("t1", "1.1"), ("t2", "1.2")]
    assert choice.missing == ()


def test_what_is_not_there_or_still_received_is_missing(tmp_path: Path) -> None:
    asked = rules(tmp_path)
    assert asked.choose([T1C], "1.0").missing == ("t1", "t2")
    assert asked.choose([T1C, T1, candidate("1.2", "t2", is_complete=False)]).missing == ("t2",)
    more = candidate("1.3", "t2", is_complete=False)
    assert asked.choose([T1C, T1, T2, more]).missing == ("t2",), "it may be a second one"


def test_the_series_of_the_rule_must_be_the_first_input(tmp_path: Path) -> None:
    sentence = r"not t1c, the first input of model m.*SeriesDescription is t1c: t1 in all 3"
    with pytest.raises(InputRefused, match=sentence):
        rules(tmp_path).choose([T1C, T1, T2], "1.1")


def test_another_series_that_is_the_first_input_too_has_a_job_of_its_own(tmp_path: Path) -> None:
    again = candidate("1.7", "t1c")
    assert rules(tmp_path).choose([T1C, T1, T2, again], "1.7").chosen["t1c"] == "1.7"


def test_several_refuse_where_none_of_them_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"2 series of the study are t1 \(1.1, 1.5\)"):
        rules(tmp_path).choose([T1C, T1, T2, candidate("1.5", "t1")])


@pytest.mark.parametrize(("choose", "uid"), [("latest", "1.5"), ("largest", "1.6")])
def test_one_of_several_is_chosen_as_the_descriptor_says(
    tmp_path: Path, choose: str, uid: str
) -> None:
    later = candidate("1.5", "t1", time="101530.5")
    larger = candidate("1.6", "t1", instances=4)
    asked = rules(tmp_path, choose=choose)
    assert asked.choose([T1C, later, T1, T2, larger]).chosen["t1"] == uid
    with pytest.raises(InputRefused, match=f"none of them is the {choose}"):
        asked.choose([T1C, T1, candidate("1.8", "t1"), T2])


def test_one_series_is_not_two_inputs(tmp_path: Path) -> None:
    asked = rules(tmp_path, when={"SeriesDescription": {"matches": "t2"}})
    with pytest.raises(InputRefused, match=r"series 1\.2 is both t1 and t2 of model m"):
        asked.choose([T1C, T1, T2])


def test_words_of_a_condition_stay_as_they_are_written(tmp_path: Path) -> None:
    found = model(tmp_path, when={"AcquisitionNumber": 2, "SeriesDescription": "t1"})
    assert found.descriptor.inputs[1].when["AcquisitionNumber"] == "2"
    InputRules.of(found)


def test_a_broken_condition_is_told_at_its_place(tmp_path: Path) -> None:
    found = model(tmp_path, when={"Modalty": "MR"})
    with pytest.raises(ConfigurationInvalid, match=r"m\.yaml:1:\d+: `Modalty` is no DICOM keyword"):
        InputRules.of(found)
