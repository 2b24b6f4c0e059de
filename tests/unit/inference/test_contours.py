"""Outlines of masks, filled again by another program: the mask comes back."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from gateway.inference.contours import Corner, outlines

Mask = npt.NDArray[np.bool_]


def mask_of(*rows: str) -> Mask:
    return np.array([[pixel == "#" for pixel in row] for row in rows], dtype=np.bool_)


def inside(polygon: list[Corner], shape: tuple[int, ...]) -> Mask:
    """Tell which pixels' centres lie inside, by the lines that a ray to the right crosses."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    crossings = np.zeros(shape, dtype=int)
    for index, here in enumerate(polygon):
        before = polygon[index - 1]
        if here.column == before.column:
            low, high = sorted((here.row, before.row))
            crossings += (rows > low) & (rows < high) & (columns < here.column)
    return np.asarray(crossings % 2 == 1, dtype=np.bool_)


def filled(mask: Mask) -> Mask:
    found = [inside(polygon, mask.shape) for polygon in outlines(mask)]
    return np.asarray(np.logical_or.reduce(found), dtype=np.bool_)


MASKS = {
    "one pixel": mask_of("#"),
    "a corner of the image": mask_of("##.", "#..", "..."),
    "a ring": mask_of("#####", "#...#", "#...#", "#####"),
    "touching at a corner": mask_of("##..", "##..", "..##", "..##"),
    "holes that touch": mask_of("#####", "#.###", "##.##", "#####"),
    "a hole that touches the outside": mask_of(".####", "#.###", "#####"),
    "an island in a hole": mask_of("#######", "#.....#", "#.###.#", "#.....#", "#######"),
    "nested twice": mask_of(
        "#########",
        "#.......#",
        "#.#####.#",
        "#.#...#.#",
        "#.#.#.#.#",
        "#.#...#.#",
        "#.#####.#",
        "#.......#",
        "#########",
    ),
    "holes in a row": mask_of("#######", "#.#.#.#", "#######"),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_mask_comes_back_from_its_outlines(mask: Mask) -> None:
    assert np.array_equal(filled(mask), mask)


@pytest.mark.parametrize("seed", range(20))
def test_any_mask_comes_back_from_its_outlines(seed: int) -> None:
    mask = np.random.default_rng(seed).random((17, 23)) < 0.2 + 0.6 * (seed % 4) / 3
    assert np.array_equal(filled(mask), mask)


@pytest.mark.parametrize("seed", range(5))
def test_polygons_are_right_for_receivers_that_combine_them_by_exclusion(seed: int) -> None:
    mask = np.random.default_rng(seed).random((17, 23)) < 0.6
    combined = np.zeros_like(mask)
    for polygon in outlines(mask):
        combined ^= inside(polygon, mask.shape)
    assert np.array_equal(combined, mask)


def test_another_programs_filling_gives_the_mask_back() -> None:
    rows, columns = np.mgrid[:80, :90]
    disc = (rows - 40) ** 2 + (columns - 45) ** 2 < 30**2
    ring = disc & ~((rows - 44) ** 2 + (columns - 42) ** 2 < 12**2)
    scale = 8
    picture = Image.new("1", (90 * scale, 80 * scale))
    for polygon in outlines(ring):
        ImageDraw.Draw(picture).polygon([(c * scale, r * scale) for r, c in polygon], fill=1)
    centres = np.asarray(picture)[scale // 2 :: scale, scale // 2 :: scale]
    assert 2 * (centres & ring).sum() / (centres.sum() + ring.sum()) > 0.98


def test_lines_end_where_they_turn() -> None:
    assert outlines(mask_of("###", "###")) == [[(0, 0), (0, 3), (2, 3), (2, 0)]]
    assert outlines(mask_of("...")) == []
