"""A slice as a picture: its segments in their colours, and under it what they are.

Nothing but the letters of the patient's sides covers the image. Who sees only the picture must
read there, too, what made it and what it is not for.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from gateway.dicom.window import shown_range
from gateway.inference.descriptor import SegmentAttributes
from gateway.inference.measurement import SegmentMeasure
from gateway.inference.result import SegmentedVolume
from gateway.inference.sources import frame_number

_SMALLEST_SIDE = 512
_FILL = 0.25
_FONT_SIZE = 12
_LINE_HEIGHT = 16
_MARGIN = 4
_SWATCH = 10
_INDENT = _SWATCH + 2 * _MARGIN
_MOST_NAMES = 24
_WHITE = (255, 255, 255)
_DARK = (16, 16, 16)
_SOFT_TISSUE_HU = (-160.0, 240.0)
"""What viewers show of a CT that names no window."""
_SHOWN_PERCENTILES = (1.0, 99.5)
_OPPOSITES = {"L": "R", "R": "L", "P": "A", "A": "P", "H": "F", "F": "H"}
_Colour = tuple[int, int, int]


class _Entry(NamedTuple):
    """A line of the legend; without a colour, of no segment."""

    text: str
    colour: _Colour | None = None


def picture(
    segmented: SegmentedVolume,
    index: int,
    shown: tuple[float, float],
    measures: Sequence[SegmentMeasure],
) -> Image.Image:
    """Draw a slice with square pixels; ``shown`` are the values that are black and white."""
    drawn = _coloured(segmented, index, shown)
    _draw_sides(drawn, segmented.volume.source_geometry.patient_orientation)
    return _with_words(drawn, segmented, _entries(segmented, index, measures))


def shown_values(segmented: SegmentedVolume) -> tuple[float, float]:
    """Return the values shown black and white: the source's own window, or most of its values."""
    volume = segmented.volume
    middle = len(volume.sources) // 2
    source = volume.sources[middle]
    named = shown_range(source, frame_number(volume, middle))
    if named is not None and segmented.model.descriptor.input.suv is None:
        return named
    if source.get("Modality") == "CT":
        return _SOFT_TISSUE_HU
    sample = volume.array[:: max(1, len(volume.array) // 16), ::4, ::4]
    low, high = np.percentile(sample, _SHOWN_PERCENTILES)
    return float(low), float(high)


def _coloured(segmented: SegmentedVolume, index: int, shown: tuple[float, float]) -> Image.Image:
    low, high = shown
    values = segmented.volume.slice_on_sources(index)
    grey = np.clip((values - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    size = _size(segmented)
    enlarged = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))
    colours = np.repeat(enlarged[:, :, None], 3, axis=2).astype(np.float32)
    labels = _resized(segmented.label_map[index], size)
    for segment in segmented.model.descriptor.segments_by_label:
        inside = labels == segment.label_id
        if inside.any():
            colour = np.asarray(segment.colour_rgb, dtype=np.float32)
            colours[inside] = (1 - _FILL) * colours[inside] + _FILL * colour
            colours[_outline(inside)] = colour
    return Image.fromarray(colours.astype(np.uint8))


def _size(segmented: SegmentedVolume) -> tuple[int, int]:
    """Return (width, height) with square pixels and no side below what words need."""
    grid = segmented.volume.source_geometry
    _, rows, columns = grid.shape
    height_mm, width_mm = rows * grid.row_spacing_mm, columns * grid.column_spacing_mm
    pixel_mm = min(grid.row_spacing_mm, grid.column_spacing_mm)
    pixel_mm = min(pixel_mm, min(height_mm, width_mm) / _SMALLEST_SIDE)
    return max(1, round(width_mm / pixel_mm)), max(1, round(height_mm / pixel_mm))


def _resized(labels: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Enlarge a label map by taking the nearest pixel's label."""
    width, height = size
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(int)
    return np.asarray(labels[np.ix_(rows, columns)])


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~core)


def _draw_sides(drawn: Image.Image, patient_orientation: tuple[str, str]) -> None:
    """Write at each edge the letter of the patient's side that lies there."""
    right, bottom = patient_orientation
    width, height = drawn.size
    places = {
        "lm": (_MARGIN, height / 2, _OPPOSITES[right]),
        "rm": (width - _MARGIN, height / 2, right),
        "mt": (width / 2, _MARGIN, _OPPOSITES[bottom]),
        "mb": (width / 2, height - _MARGIN, bottom),
    }
    canvas = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(_FONT_SIZE + 2)
    for anchor, (x, y, letter) in places.items():
        canvas.text((x, y), letter, _WHITE, font, anchor=anchor, stroke_width=2, stroke_fill=_DARK)


def _entries(
    segmented: SegmentedVolume, index: int, measures: Sequence[SegmentMeasure]
) -> list[_Entry]:
    """Name the segments; where they are too many, first those that the slice shows."""
    segments = segmented.model.descriptor.segments_by_label
    pairs = list(zip(segments, measures, strict=True))
    if len(pairs) > _MOST_NAMES:
        here = frozenset(np.unique(segmented.label_map[index]).tolist())
        pairs.sort(key=lambda pair: pair[0].label_id not in here)
    entries = [_Entry(_said(*pair), pair[0].colour_rgb) for pair in pairs[:_MOST_NAMES]]
    if len(pairs) > _MOST_NAMES:
        entries.append(_Entry(f"and {len(pairs) - _MOST_NAMES} more"))
    return entries


def _said(segment: SegmentAttributes, measured: SegmentMeasure) -> str:
    return f"{segment.label}: {f'{measured.ml:,.1f} ml' if measured.voxels else 'not found'}"


def _with_words(
    drawn: Image.Image, segmented: SegmentedVolume, entries: Sequence[_Entry]
) -> Image.Image:
    """Put the legend under the image in columns, and the model's words under the legend."""
    font = ImageFont.load_default(_FONT_SIZE)
    model = segmented.model
    widest = _INDENT + max(round(font.getlength(entry.text)) for entry in entries) + 2 * _MARGIN
    columns = max(1, drawn.width // widest)
    lines = -(-len(entries) // columns)
    words = (segmented.series_description, f"{model.name} {model.version}, not reviewed")
    below = (lines + len(words)) * _LINE_HEIGHT + 4 * _MARGIN
    whole = Image.new("RGB", (drawn.width, drawn.height + below), _DARK)
    whole.paste(drawn, (0, 0))
    canvas = ImageDraw.Draw(whole)
    top = drawn.height + 2 * _MARGIN
    for number, entry in enumerate(entries):
        column, line = divmod(number, lines)
        x = column * (drawn.width // columns) + _MARGIN
        _draw_entry(canvas, (x, top + line * _LINE_HEIGHT), entry, font)
    for line, text in enumerate(words, start=lines):
        canvas.text((_MARGIN, top + _MARGIN + line * _LINE_HEIGHT), text, _WHITE, font)
    return whole


def _draw_entry(
    canvas: ImageDraw.ImageDraw,
    place: tuple[int, int],
    entry: _Entry,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    x, y = place
    if entry.colour:
        canvas.rectangle((x, y + 2, x + _SWATCH, y + 2 + _SWATCH), fill=entry.colour)
    canvas.text((x + _INDENT, y), entry.text, _WHITE, font)
