"""What a descriptor may say about the series that its model takes."""

import pytest
from pydantic import ValidationError

from gateway.dicom.frames import SplitAttribute
from gateway.inference.input_requirements import (
    GantryTilt,
    InputRequirements,
    Keep,
    MissingRescale,
    Suv,
)


def test_by_default_nothing_is_split_sheared_or_converted() -> None:
    wanted = InputRequirements()
    assert wanted.split_by == ()
    assert wanted.keep is Keep.EVERY
    assert wanted.gantry_tilt is GantryTilt.REFUSE
    assert wanted.spacing_tolerance == 0.01
    assert wanted.suv is None
    assert wanted.missing_rescale is MissingRescale.REFUSE
    assert wanted.rescale_types == ("HU",)


def test_every_key_is_read_as_a_descriptor_writes_it() -> None:
    wanted = InputRequirements.model_validate(
        {
            "split_by": ["AcquisitionNumber", "EchoNumbers"],
            "keep": "largest",
            "gantry_tilt": "shear",
            "spacing_tolerance": 0.05,
            "suv": "bodyweight",
            "missing_rescale": "stored",
            "rescale_types": ["HU", "US"],
        }
    )
    assert wanted == InputRequirements(
        split_by=(SplitAttribute.ACQUISITION_NUMBER, SplitAttribute.ECHO_NUMBERS),
        keep=Keep.LARGEST,
        gantry_tilt=GantryTilt.SHEAR,
        spacing_tolerance=0.05,
        suv=Suv.BODY_WEIGHT,
        missing_rescale=MissingRescale.STORED,
        rescale_types=("HU", "US"),
    )


@pytest.mark.parametrize(
    "content",
    [
        {"split_by": ["InstanceNumber"]},
        {"split_by": ["EchoNumbers", "EchoNumbers"]},
        {"split_by": "EchoNumbers"},
        {"gantry_tilt": "ignore"},
        {"spacing_tolerance": 0},
        {"spacing_tolerance": 0.5},
        {"spacing_tolerance": "0.05"},
        {"suv": "lean"},
        {"missing_rescale": "guess"},
        {"rescale_types": []},
        {"rescale_types": ["hu"]},
        {"jitter": 1},
    ],
)
def test_other_keys_and_values_are_refused(content: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InputRequirements.model_validate(content)


def test_requirements_do_not_change() -> None:
    with pytest.raises(ValidationError):
        setattr(InputRequirements(), "suv", Suv.BODY_WEIGHT)  # noqa: B010 - mypy knows it, too
