"""Codes for the names of labels: looked up, never guessed."""

import pytest
from pydicom.sr.codedict import codes

from gateway.inference.snomed import coded

LEFT, RIGHT = "7771000", "24028007"


@pytest.mark.parametrize(
    ("name", "value", "side"),
    [
        ("spleen", "78961009", None),
        ("Liver", "10200004", None),
        ("left kidney", "64033007", LEFT),
        ("kidney_right", "64033007", RIGHT),
        ("KidneyLeft", "64033007", LEFT),
        ("lungs", "39607008", None),
        ("gallbladder", "28231008", None),
        ("urinary_bladder", "89837001", None),
        ("pancreas", "15776009", None),
        ("lung_upper_lobe_left", "45653009", LEFT),
    ],
)
def test_a_structure_is_found_by_its_name(name: str, value: str, side: str | None) -> None:
    found = coded(name)
    assert found is not None
    assert found.category == codes.SCT.AnatomicalStructure
    assert found.property_type.value == value
    assert (found.modifier.value if found.modifier else None) == side


def test_tissue_and_lesions_have_categories_of_their_own() -> None:
    tissue, lesion = coded("soft tissue"), coded("tumor")
    assert tissue is not None
    assert lesion is not None
    assert tissue.category == codes.SCT.Tissue
    assert lesion.category == codes.SCT.MorphologicallyAbnormalStructure


@pytest.mark.parametrize("name", ["", "left", "Left Kideny", "pancreatic tumor", "label 7"])
def test_a_name_without_a_code_has_none(name: str) -> None:
    assert coded(name) is None
