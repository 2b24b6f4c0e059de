"""A picture of a segmentation: slices in a grid, segments in colour, a legend with volumes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_BACKGROUND = (16, 18, 22)
_TEXT = (226, 230, 236)
_FAINT = (140, 147, 158)
_CELL_PIXELS = 300
_GAP_PIXELS = 10
_HEADER_PIXELS = 54
_FOOTER_PIXELS = 46
_COLUMNS = 4
_MOST_SLICES = 12
_TINT = 0.32
_MARGIN_MM = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class LegendEntry:
    """A segment's number in the label map, its name, its volume and its colour (RGB 0-255)."""

    number: int
    label: str
    ml: float
    colour: tuple[int, int, int]


def montage(
    values: NDArray[np.float32],
    label_map: NDArray[np.uint8],
    *,
    pixel_mm: tuple[float, float],
    window: tuple[float, float],
    legend: Sequence[LegendEntry],
    title: str,
) -> Image.Image:
    """Draw up to twelve slices of a volume with its segmentation over them.

    ``values`` and ``label_map`` are (slices, rows, columns); ``pixel_mm`` is the distance
    between rows and between columns; ``window`` is (lowest, highest) shown value.
    """
    shown = _surroundings(label_map, pixel_mm)
    values, label_map = values[:, *shown], label_map[:, *shown]
    chosen = _chosen_slices(label_map)
    width, height = _cell_size(values.shape[1:], pixel_mm)
    lines = -(-len(chosen) // _COLUMNS)
    columns = min(_COLUMNS, len(chosen))
    picture = Image.new(
        "RGB",
        (
            columns * (width + _GAP_PIXELS) + _GAP_PIXELS,
            _HEADER_PIXELS + lines * (height + _GAP_PIXELS) + _FOOTER_PIXELS,
        ),
        _BACKGROUND,
    )
    draw = ImageDraw.Draw(picture)
    draw.text((_GAP_PIXELS + 4, 16), title, fill=_TEXT, font=ImageFont.load_default(20))
    for place, index in enumerate(chosen):
        left = _GAP_PIXELS + place % _COLUMNS * (width + _GAP_PIXELS)
        top = _HEADER_PIXELS + place // _COLUMNS * (height + _GAP_PIXELS)
        cell = _cell(values[index], label_map[index], (width, height), window, legend)
        picture.paste(cell, (left, top))
        caption = f"slice {index + 1} of {len(values)}"
        draw.text((left + 8, top + 6), caption, fill=_FAINT, font=ImageFont.load_default(13))
    _draw_legend(draw, legend, picture.height - _FOOTER_PIXELS + 10)
    return picture


def _surroundings(
    label_map: NDArray[np.uint8], pixel_mm: tuple[float, float]
) -> tuple[slice, slice]:
    """Return the rows and columns around everything labelled, or all where nothing is."""
    found: NDArray[np.bool_] = np.any(label_map, axis=0)
    if not found.any():
        return slice(None), slice(None)
    ranges = []
    occupied = (np.any(found, axis=1), np.any(found, axis=0))
    for lines, spacing_mm in zip(occupied, pixel_mm, strict=True):
        places = np.flatnonzero(lines)
        margin = round(_MARGIN_MM / spacing_mm)
        ranges.append(slice(max(0, places[0] - margin), places[-1] + margin + 1))
    return ranges[0], ranges[1]


def _chosen_slices(label_map: NDArray[np.uint8]) -> list[int]:
    """Spread the pictures evenly over the slices that hold a segment, or over all."""
    occupied = np.flatnonzero(label_map.any(axis=(1, 2)))
    candidates = occupied if len(occupied) else np.arange(len(label_map))
    number = min(_MOST_SLICES, len(candidates))
    places = (np.arange(number) + 0.5) * len(candidates) / number
    return [int(candidates[int(place)]) for place in places]


def _cell_size(shape: tuple[int, ...], pixel_mm: tuple[float, float]) -> tuple[int, int]:
    """Return (width, height) that show a slice in its true proportions."""
    height_mm, width_mm = shape[0] * pixel_mm[0], shape[1] * pixel_mm[1]
    scale = _CELL_PIXELS / max(height_mm, width_mm)
    return max(1, round(width_mm * scale)), max(1, round(height_mm * scale))


def _cell(
    values: NDArray[np.float32],
    labels: NDArray[np.uint8],
    size: tuple[int, int],
    window: tuple[float, float],
    legend: Sequence[LegendEntry],
) -> Image.Image:
    lowest, highest = window
    grey = np.clip((values - lowest) / (highest - lowest), 0, 1) * 255
    base = Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    pixels = np.stack([np.asarray(base)] * 3, axis=-1).astype(np.float32)
    for entry in legend:
        mask = Image.fromarray((labels == entry.number).astype(np.uint8) * 255)
        covered = np.asarray(mask.resize(size, Image.Resampling.BILINEAR)) >= 128
        colour = np.array(entry.colour, np.float32)
        pixels[covered] = pixels[covered] * (1 - _TINT) + colour * _TINT
        pixels[_outline(covered)] = colour
    return Image.fromarray(pixels.astype(np.uint8))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask that touch its outside."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _draw_legend(draw: ImageDraw.ImageDraw, legend: Sequence[LegendEntry], top: int) -> None:
    font = ImageFont.load_default(16)
    left = float(_GAP_PIXELS + 4)
    for entry in legend:
        draw.rectangle((left, top + 2, left + 16, top + 18), fill=entry.colour)
        text = f"{entry.label}  {entry.ml:,.0f} ml"
        draw.text((left + 24, top), text, fill=_TEXT, font=font)
        left += 24 + draw.textlength(text, font=font) + 36
