"""Data sets as files, and with other values."""

from copy import deepcopy
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file


def file_of(dataset: Dataset) -> bytes:
    """Return a data set as a DICOM file."""
    output = BytesIO()
    dataset.save_as(output, enforce_file_format=True)
    return output.getvalue()


def changed(dataset: Dataset, **values: Any) -> Dataset:
    """Return a copy of a data set with these values."""
    other = deepcopy(dataset)
    for keyword, value in values.items():
        setattr(other, keyword, value)
    return other


def example(name: str) -> Dataset:
    """Return one of the data sets that come with pydicom."""
    return dcmread(str(get_testdata_file(name, download=False)))
