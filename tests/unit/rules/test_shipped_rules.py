"""The rules that come with the gateway do what their files say."""

from pathlib import Path
from typing import Any

import pytest

from gateway.rules import RuleSet, SeriesFacts, load_rules

SHIPPED = Path(__file__).parents[3] / "routing_rules"
CT, SEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules(SHIPPED, nodes={"pacs"}, models={"ct_tissue"})


def image(**changes: Any) -> dict[int, tuple[Any, ...]]:
    values = {
        "modality": ("CT",),
        "sop_class": (CT,),
        "image_type": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "orientation": (1, 0, 0, 0, 1, 0),
        **changes,
    }
    tags = (0x00080060, 0x00080016, 0x00080008, 0x00200037)
    return dict(zip(tags, values.values(), strict=True))


def taken(rules: RuleSet, instances: list[dict[int, tuple[Any, ...]]]) -> list[str]:
    return [one.rule for one in rules.decide(SeriesFacts(instances=instances)).actions]


@pytest.mark.parametrize(
    "cosines",
    [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), (0.6, 0.8, 0, 0, 0, 1)],
)
def test_a_ct_volume_of_any_orientation_is_segmented(
    rules: RuleSet, cosines: tuple[float, ...]
) -> None:
    assert taken(rules, [image(orientation=cosines)] * 10) == ["ct-tissue"]


@pytest.mark.parametrize(
    "instances",
    [
        [image()] * 9,
        [image(modality=("MR",))] * 40,
        [image(modality=("SEG",), sop_class=(SEG,), image_type=("DERIVED", "PRIMARY"))],
        [image(image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))] * 12,
        [image()] * 40 + [image(image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))],
        [image(image_type=("DERIVED", "SECONDARY"))] * 40,
        [image(orientation=())] * 40,
    ],
    ids=["few", "mr", "seg", "localizer", "mixed", "derived", "no-geometry"],
)
def test_what_is_no_ct_volume_is_left_alone(
    rules: RuleSet, instances: list[dict[int, tuple[Any, ...]]]
) -> None:
    assert taken(rules, instances) == []


def test_the_example_of_forwarding_is_not_in_force(rules: RuleSet) -> None:
    assert {one.name: one.rule.enabled for one in rules.rules} == {
        "ct-tissue": True,
        "forward-everything": False,
    }


def test_the_example_of_the_readme_is_a_rule(tmp_path: Path) -> None:
    example = (SHIPPED / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "example.yaml").write_text(example)
    nodes, models = {"pacs", "cloud"}, {"spleen_ct_segmentation"}
    assert len(load_rules(tmp_path, nodes=nodes, models=models).rules) == 1
