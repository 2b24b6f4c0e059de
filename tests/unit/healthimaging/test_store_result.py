"""What the answer to STOW-RS says of each instance, in the forms in which it may come."""

from typing import Any

import pytest

from gateway.healthimaging.outcomes import InstanceOutcome, Outcome
from gateway.healthimaging.store_result import is_store_result, store_outcomes

STORED = InstanceOutcome(outcome=Outcome.STORED)


def attribute(*values: Any) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(values)}


def item(uid: str, tag: str = "00081155", **numbers: int) -> dict[str, Any]:
    names = {"reason": "00081197", "warned": "00081196"}
    return {
        tag: attribute(uid),
        **{names[name]: attribute(number) for name, number in numbers.items()},
    }


def test_each_instance_has_what_was_answered_for_it() -> None:
    document = {
        "00081190": attribute("https://dicom.example/studies/1"),
        "00081199": attribute(item("1"), item("2", warned=0xB112)),
        "00081198": attribute(
            item("3", reason=272), item("4", tag="00080018", reason=0xA900), item("5", reason=9)
        ),
    }

    outcomes = store_outcomes(document, ["1", "2", "3", "4", "5", "6"])

    assert outcomes["1"] == STORED
    assert outcomes["2"].outcome is Outcome.STORED
    assert outcomes["2"].detail.startswith("B112H the offset table")
    assert (outcomes["3"].outcome, outcomes["3"].detail) == (
        Outcome.FAILED,
        "0110H processing failure",
    )
    assert outcomes["4"].outcome is outcomes["5"].outcome is Outcome.REFUSED
    assert outcomes["4"].detail == "A900H the data set does not match its SOP class"
    assert "6" not in outcomes, "nothing was said of it"


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (0xA700, Outcome.FAILED),
        (0xA7FF, Outcome.FAILED),
        (0x0110, Outcome.FAILED),
        (0x0122, Outcome.REFUSED),
        (0xC122, Outcome.REFUSED),
        (0, Outcome.REFUSED),
    ],
)
def test_reasons_that_pass_are_told_from_those_that_do_not(reason: int, outcome: Outcome) -> None:
    document = {"00081198": attribute(item("1", reason=reason))}
    assert store_outcomes(document, ["1"])["1"].outcome is outcome


def test_a_failure_without_a_name_is_of_the_only_instance_that_was_sent() -> None:
    nameless = {"0008119A": attribute({"00081197": attribute(0xC000)})}
    assert store_outcomes(nameless, ["1"])["1"].outcome is Outcome.REFUSED
    assert store_outcomes(nameless, ["1", "2"]) == {}


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"00081199": None}, {"00081199": {"vr": "SQ"}}, {"message": "locked"}],
)
def test_an_answer_that_says_nothing_decides_nothing(document: Any) -> None:
    assert store_outcomes(document, ["1"]) == {}


def test_an_answer_about_instances_is_told_from_one_about_the_request() -> None:
    assert is_store_result({"00081198": attribute()})
    assert not is_store_result({"message": "image set is locked"})
    assert not is_store_result(None)
