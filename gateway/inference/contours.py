"""The outline of a mask as polygons along the edges of its pixels.

Every pixel whose centre lies inside a polygon belongs to the mask, and no other: nothing is
smoothed, so that the mask comes back exactly. A hole is joined to the outline around it by a cut
without width (PS3.3 C.8.8.6.3, the "keyhole"), so that one closed line says it all.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Corner(NamedTuple):
    """A corner between pixels: row and column 0 are the first pixel's outer edges."""

    row: int
    column: int


Polygon = list[Corner]


def outlines(mask: npt.NDArray[np.bool_]) -> list[Polygon]:
    """Return one closed polygon for each area of a mask (rows, columns), its holes cut open.

    Pixels that touch only at a corner are different areas. A pixel (row, column) covers the
    square from (row, column) to (row + 1, column + 1); lines end where they turn.
    """
    loops = _loops(mask)
    outer = [loop for loop in loops if _area(loop) > 0]
    holes = sorted((loop for loop in loops if _area(loop) < 0), key=_leftmost)
    for hole in holes:
        _join(outer, hole)
    return outer


def _loops(mask: npt.NDArray[np.bool_]) -> list[Polygon]:
    """Follow the edges with the mask on their right hand, which rows count downwards."""
    following = _following(mask)
    loops = []
    while following:
        start = next(iter(following))
        loop, here = [start], following[start].pop()
        came = (here.row - start.row, here.column - start.column)
        _clean(following, start)
        while here != start:
            loop.append(here)
            there = _turn(following[here], here, came)
            came = (there.row - here.row, there.column - here.column)
            following[here].remove(there)
            _clean(following, here)
            here = there
        loops.append(_straightened(loop))
    return loops


def _following(mask: npt.NDArray[np.bool_]) -> dict[Corner, list[Corner]]:
    """Return for each corner where the edges that begin in it end."""
    padded = np.pad(mask, 1)
    edges: dict[Corner, list[Corner]] = defaultdict(list)
    horizontal = padded[1:, 1:-1].astype(np.int8) - padded[:-1, 1:-1]
    for row, column in np.argwhere(horizontal > 0).tolist():  # the mask begins below: rightwards
        edges[Corner(row, column)].append(Corner(row, column + 1))
    for row, column in np.argwhere(horizontal < 0).tolist():
        edges[Corner(row, column + 1)].append(Corner(row, column))
    vertical = padded[1:-1, 1:].astype(np.int8) - padded[1:-1, :-1]
    for row, column in np.argwhere(vertical > 0).tolist():  # the mask begins to the right: upwards
        edges[Corner(row + 1, column)].append(Corner(row, column))
    for row, column in np.argwhere(vertical < 0).tolist():
        edges[Corner(row, column)].append(Corner(row + 1, column))
    return edges


def _clean(following: dict[Corner, list[Corner]], corner: Corner) -> None:
    if not following[corner]:
        del following[corner]


def _turn(choices: list[Corner], here: Corner, came: tuple[int, int]) -> Corner:
    """Where two areas touch, turn right and so stay with the one that was followed."""
    right = Corner(here.row + came[1], here.column - came[0])
    return right if right in choices else choices[-1]


def _straightened(loop: Polygon) -> Polygon:
    """Leave out corners where the line goes straight on."""
    kept = []
    for index, here in enumerate(loop):
        before, after = loop[index - 1], loop[(index + 1) % len(loop)]
        if (here.row - before.row) * (after.column - here.column) != (
            here.column - before.column
        ) * (after.row - here.row):
            kept.append(here)
    return kept


def _area(loop: Polygon) -> int:
    """Return twice the area, positive for an outline and negative for a hole."""
    total = 0
    for index, here in enumerate(loop):
        before = loop[index - 1]
        total += before.column * here.row - here.column * before.row
    return total


def _leftmost(loop: Polygon) -> tuple[int, int]:
    row, column = min(loop, key=lambda corner: (corner.column, corner.row))
    return column, row


def _join(polygons: list[Polygon], hole: Polygon) -> None:
    """Cut from a hole's leftmost corner to the left until the cut meets a line."""
    column, row = _leftmost(hole)
    best: tuple[int, int, int] | None = None
    for number, polygon in enumerate(polygons):
        for index, here in enumerate(polygon):
            before = polygon[index - 1]
            if here.column != before.column or here.column > column:
                continue
            is_met = min(here.row, before.row) <= row <= max(here.row, before.row)
            if is_met and (best is None or here.column > best[0]):
                best = (here.column, number, index)
    if best is None:
        polygons.append(hole)  # cannot be: a hole lies inside an outline
        return
    met, number, index = best
    start = hole.index(Corner(row, column))
    around = [*hole[start:], *hole[:start], Corner(row, column)]
    cut = Corner(row, met)
    polygons[number][index:index] = [cut, *around, cut]
