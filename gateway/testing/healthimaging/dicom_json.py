"""Instances in the DICOM JSON model (PS3.18 annex F), as the DICOMweb plane gives them."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import DataElement

from gateway.testing.healthimaging.instances import StoredInstance

LARGEST_INLINE_BYTES = 1 << 20
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_BASE64_BYTES, _OF_BYTES = 4, 3
_TRANSFER_SYNTAX_UID = "00020010"


def instance_json(instance: StoredInstance, bulk_data_root: str) -> dict[str, Any]:
    """Return all elements of an instance but its pixel data.

    The transfer syntax is the stored one. Binary values over 1 MB stand apart: their addresses
    are digests below ``bulk_data_root``.
    """
    return {
        _TRANSFER_SYNTAX_UID: {"vr": "UI", "Value": [instance.stored_transfer_syntax_uid]},
        **elements_json(instance.elements, bulk_data_root),
    }


def elements_json(
    dataset: Dataset, bulk_data_root: str, is_wanted: Callable[[str], bool] = lambda _: True
) -> dict[str, Any]:
    """Return elements in DICOM JSON; those that have no valid value there are left out.

    ``is_wanted`` tells of a tag in hexadecimal whether its element is to be there.
    """
    tags = [tag for tag in list(dataset.keys()) if is_wanted(f"{int(tag):08X}")]
    wanted = Dataset({tag: dataset[tag] for tag in tags})
    return dict(
        wanted.to_json_dict(
            bulk_data_threshold=LARGEST_INLINE_BYTES * _BASE64_BYTES // _OF_BYTES,
            bulk_data_element_handler=lambda element: f"{bulk_data_root}/{digest(element)}",
            suppress_invalid_tags=True,
        )
    )


def bulk_data(instance: StoredInstance, wanted: str) -> bytes | None:
    """Return the binary value of a digest; None where the instance has none such."""
    for element in _binary(instance.elements):
        if digest(element) == wanted:
            return bytes(element.value)
    return None


def digest(element: DataElement) -> str:
    """Return what names a binary value."""
    return hashlib.sha256(bytes(element.value)).hexdigest()


def _binary(dataset: Dataset) -> Iterable[DataElement]:
    return (one for one in dataset.iterall() if one.VR in _BINARY_VRS and one.value)
