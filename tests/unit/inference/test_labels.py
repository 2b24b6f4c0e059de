"""Arrays of a bundle as label maps and probabilities, and those that are neither."""

from typing import Any

import numpy as np
import pytest

from gateway.inference.labels import (
    LabelsUnsupported,
    label_map_of,
    likeliest,
    probabilities_of,
)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "int64"])
def test_labels_of_any_type_become_bytes(dtype: str) -> None:
    labels = label_map_of(np.array([[[0, 1], [2, 255]]], dtype=dtype))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[[0, 1], [2, 255]]]


def test_labels_over_255_stay_what_they_are() -> None:
    assert label_map_of(np.array([[[256.0]]])).dtype == np.uint16


@pytest.mark.parametrize("value", [0.5, -1.0, 65_536.0, np.nan])
def test_values_that_are_no_labels_are_refused(value: float) -> None:
    with pytest.raises(LabelsUnsupported):
        label_map_of(np.array([[[value]]]))


def test_channels_are_no_label_map() -> None:
    with pytest.raises(LabelsUnsupported, match="2 channels"):
        label_map_of(np.zeros((2, 1, 1, 1)))


def channels(*values: float) -> Any:
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1, 1)


def test_a_channel_is_found_by_its_label_where_there_is_one_for_the_background() -> None:
    found = probabilities_of(channels(0.1, 0.2, 0.7), [2])
    assert found.reshape(-1).tolist() == [round(0.7 * 255)]


def test_channels_without_background_are_in_the_order_of_the_labels() -> None:
    found = probabilities_of(channels(1.0, 0.0), [4, 9])
    assert found.reshape(-1).tolist() == [255, 0]


def test_other_numbers_of_channels_and_other_values_are_refused() -> None:
    with pytest.raises(LabelsUnsupported, match="2 channels, which fit no 3 segments"):
        probabilities_of(channels(0, 1), [1, 2, 5])
    with pytest.raises(LabelsUnsupported, match="no probabilities"):
        probabilities_of(channels(0, 7), [1])


@pytest.mark.parametrize(
    ("values", "label"), [((200, 100), 3), ((100, 200), 300), ((127, 126), 0), ((128, 1), 3)]
)
def test_the_likeliest_label_is_taken_where_it_is_likelier_than_not(
    values: tuple[int, int], label: int
) -> None:
    array = np.array(values, dtype=np.uint8).reshape(2, 1, 1, 1)
    assert likeliest(array, [3, 300]).tolist() == [[[label]]]
