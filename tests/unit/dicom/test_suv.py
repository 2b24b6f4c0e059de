"""PET activity becomes uptake by body weight, or the series is refused with what is missing."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedPETImageStorage,
    PositronEmissionTomographyImageStorage,
)

from gateway.dicom.reasons import InputReason
from gateway.dicom.suv import body_weight_factor
from gateway.errors import InputRefused

WEIGHT_KG, DOSE_BQ, HALF_LIFE_S = 70.0, 3.5e8, 6586.2


def header(index: int = 0, **values: Any) -> Dataset:
    """An image of a whole-body F-18 PET: injected at 9:00, scanned from 10:00, bed after bed."""
    dataset = Dataset()
    dataset.SOPClassUID = PositronEmissionTomographyImageStorage
    dataset.SOPInstanceUID = f"1.2.{index + 1}"
    dataset.Units = "BQML"
    dataset.DecayCorrection = "START"
    dataset.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    dataset.PatientWeight = str(WEIGHT_KG)
    dataset.SeriesDate = dataset.AcquisitionDate = "20260102"
    dataset.SeriesTime = "100000.000000"
    dataset.AcquisitionTime = f"10{3 * index:02d}00.000000"
    injection = Dataset()
    injection.RadiopharmaceuticalStartTime = "090000.000000"
    injection.RadionuclideTotalDose = str(DOSE_BQ)
    injection.RadionuclideHalfLife = str(HALF_LIFE_S)
    dataset.RadiopharmaceuticalInformationSequence = [injection]
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def series(change: Callable[[Dataset], object] = lambda _: None) -> list[Dataset]:
    headers = [header(index) for index in range(3)]
    for one in headers:
        change(one)
    return headers


def injection(dataset: Dataset) -> Dataset:
    item: Dataset = dataset.RadiopharmaceuticalInformationSequence[0]
    return item


def refused(headers: list[Dataset]) -> InputRefused:
    with pytest.raises(InputRefused) as caught:
        body_weight_factor(headers)
    assert caught.value.instances
    assert caught.value.instances[0] in str(caught.value)
    return caught.value


def test_activity_is_divided_by_the_dose_that_is_left_per_gram_at_the_start_of_the_scan() -> None:
    # 350 MBq x 2 ** (-3600 s / 6586.2 s) = 239.62 MBq are left; 70000 g / that is the factor.
    factor = body_weight_factor(series())
    assert factor == pytest.approx(2.92127e-4, rel=1e-5)
    assert 5000 * factor == pytest.approx(1.46064, rel=1e-5)  # 5 kBq/ml in fat and muscle


def test_after_one_half_life_the_factor_is_twice_that_of_the_injection() -> None:
    headers = series(lambda one: setattr(injection(one), "RadionuclideHalfLife", "3600"))
    assert body_weight_factor(headers) == pytest.approx(2 * WEIGHT_KG * 1000 / DOSE_BQ)


def test_images_that_are_corrected_to_the_injection_take_the_whole_dose() -> None:
    headers = series(lambda one: setattr(one, "DecayCorrection", "ADMIN"))
    assert body_weight_factor(headers) == pytest.approx(WEIGHT_KG * 1000 / DOSE_BQ)


def test_a_start_with_its_date_comes_before_a_start_without() -> None:
    def dated(one: Dataset) -> None:
        injection(one).RadiopharmaceuticalStartDateTime = "20260102083000.00+0100"

    seconds = 5400
    expected = WEIGHT_KG * 1000 / (DOSE_BQ * 2 ** (-seconds / HALF_LIFE_S))
    assert body_weight_factor(series(dated)) == pytest.approx(expected)


def test_an_injection_before_midnight_belongs_to_the_day_before_the_scan() -> None:
    def late(one: Dataset) -> None:
        one.SeriesTime, one.AcquisitionTime = "003000", "003100"
        injection(one).RadiopharmaceuticalStartTime = "233000"

    assert body_weight_factor(series(late)) == pytest.approx(body_weight_factor(series()))


def overwritten(one: Dataset) -> None:
    """A series that was processed in the afternoon, whose date says so."""
    one.SeriesTime = "153000"


def test_where_processing_overwrote_the_series_time_ge_keeps_the_scan_time() -> None:
    def ge(one: Dataset) -> None:
        overwritten(one)
        block = one.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x0D, "DT", "20260102100000.00")

    assert body_weight_factor(series(ge)) == pytest.approx(body_weight_factor(series()))


def test_where_processing_overwrote_the_series_time_the_frame_reference_time_leads_back() -> None:
    # The scan began at 10:00 and this bed at 10:06. Activity is at its mean a little before the
    # middle of a frame of 180 s: 1/k ln(k t / (1 - exp(-k t))), with k = ln 2 / half-life.
    k = math.log(2) / HALF_LIFE_S
    middle_s = math.log(k * 180 / (1 - math.exp(-k * 180))) / k
    assert 89 < middle_s < 90

    def referenced(one: Dataset) -> None:
        overwritten(one)
        one.AcquisitionTime = "100600"
        one.ActualFrameDuration = "180000"
        one.FrameReferenceTime = f"{(360 + middle_s) * 1000:.6f}"

    assert body_weight_factor(series(referenced)) == pytest.approx(body_weight_factor(series()))


def test_an_overwritten_series_time_without_a_way_back_is_refused() -> None:
    error = refused(series(overwritten))
    assert error.reason == InputReason.SUV_INCOMPLETE
    assert "FrameReferenceTime" in error.detail


def philips(one: Dataset, element: int, value: str) -> None:
    one.Units = "CNTS"
    block = one.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(element, "DS", value)


def test_counts_of_philips_have_their_factor() -> None:
    headers = series(lambda one: philips(one, 0x00, "0.000551"))
    assert body_weight_factor(headers) == pytest.approx(0.000551)


def test_a_private_element_that_was_read_as_bytes_is_understood() -> None:
    headers = series(lambda one: philips(one, 0x00, "0.000551"))
    for one in headers:
        block = one.private_block(0x7053, "Philips PET Private Group")
        del block[0x00]
        block.add_new(0x00, "UN", b"0.000551 ")
    assert body_weight_factor(headers) == pytest.approx(0.000551)


def test_counts_whose_uptake_factor_is_zero_become_activity_first() -> None:
    def counts(one: Dataset) -> None:
        philips(one, 0x00, "0.0")
        philips(one, 0x09, "2.5")

    assert body_weight_factor(series(counts)) == pytest.approx(2.5 * body_weight_factor(series()))


def test_counts_without_any_factor_are_refused() -> None:
    error = refused(series(lambda one: setattr(one, "Units", "CNTS")))
    assert error.reason == InputReason.SUV_INCOMPLETE
    assert "(7053,1000)" in error.detail


def test_grams_per_millilitre_are_uptake_values_by_body_weight_unless_they_say_otherwise() -> None:
    assert body_weight_factor(series(lambda one: setattr(one, "Units", "GML"))) == 1.0

    def lean(one: Dataset) -> None:
        one.Units, one.SUVType = "GML", "LBM"

    assert refused(series(lean)).reason == InputReason.SUV_UNITS


@pytest.mark.parametrize("units", ["CM2ML", "PROPCNTS", ""])
def test_other_units_are_refused(units: str) -> None:
    error = refused(series(lambda one: setattr(one, "Units", units)))
    assert error.reason == InputReason.SUV_UNITS


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("DecayCorrection", "NONE"),
        ("DecayCorrection", None),
        ("CorrectedImage", ["DECY", "SCAT"]),
        ("CorrectedImage", "ATTN"),
        ("CorrectedImage", None),
    ],
)
def test_images_without_both_corrections_are_refused(keyword: str, value: object) -> None:
    error = refused(series(lambda one: setattr(one, keyword, value)))
    assert error.reason == InputReason.SUV_NOT_CORRECTED


@pytest.mark.parametrize(
    "keyword", ["PatientWeight", "AcquisitionTime", "SeriesDate", "AcquisitionDate"]
)
def test_an_image_without_a_factor_is_refused(keyword: str) -> None:
    error = refused(series(lambda one: setattr(one, keyword, None)))
    assert error.reason == InputReason.SUV_INCOMPLETE
    assert keyword in error.detail


@pytest.mark.parametrize(
    "keyword", ["RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime"]
)
def test_an_injection_without_a_factor_is_refused(keyword: str) -> None:
    error = refused(series(lambda one: delattr(injection(one), keyword)))
    assert error.reason == InputReason.SUV_INCOMPLETE
    assert keyword in error.detail


def test_a_series_without_an_injection_is_refused() -> None:
    def without(one: Dataset) -> None:
        del one.RadiopharmaceuticalInformationSequence

    assert refused(series(without)).reason == InputReason.SUV_INCOMPLETE


@pytest.mark.parametrize(
    "change",
    [
        lambda one: setattr(one, "PatientWeight", "0"),
        lambda one: setattr(one, "PatientWeight", "70000"),
        lambda one: setattr(injection(one), "RadionuclideTotalDose", "350"),  # MBq
        lambda one: setattr(injection(one), "RadiopharmaceuticalStartDateTime", "20260102110000"),
        lambda one: setattr(injection(one), "RadiopharmaceuticalStartDateTime", "20251231090000"),
    ],
    ids=["weightless", "in grams", "dose in MBq", "injected after", "injected days before"],
)
def test_values_that_cannot_be_true_are_refused(change: Callable[[Dataset], object]) -> None:
    assert refused(series(change)).reason == InputReason.SUV_IMPLAUSIBLE


def test_images_of_one_series_that_disagree_are_refused() -> None:
    headers = series()
    headers[1].PatientWeight = "71"
    assert refused(headers).reason == InputReason.SUV_INCOMPLETE


@pytest.mark.parametrize("sop_class", [CTImageStorage, EnhancedPETImageStorage])
def test_other_images_than_single_frame_pet_are_refused(sop_class: str) -> None:
    headers = series()
    headers[1].SOPClassUID = sop_class
    error = refused(headers)
    assert error.reason == InputReason.SUV_NOT_PET
    assert error.instances == ("1.2.2",)
