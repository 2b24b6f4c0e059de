"""Slices with the outlines of what was found burned in, for viewers that show nothing else.

Each image is a Secondary Capture (PS3.3 A.8.1) of one source slice, with square pixels, the
segments in their colours and the descriptor's own words under it: who only sees the picture
must read there, too, what made it and what it is not for.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom.sc import SCImage
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from gateway.inference.descriptor import SegmentAttributes
from gateway.inference.forms import Form
from gateway.inference.measurement import SegmentMeasure
from gateway.inference.result import (
    ResultObject,
    SegmentedVolume,
    encoded,
    names,
    settle,
)
from gateway.inference.sources import source_reference, stand_ins

_SMALLEST_SIDE = 512
_FILL = 0.25
_LINE_HEIGHT = 16
_MOST_NAMES = 24
_WHITE = (255, 255, 255)
_DARK = (16, 16, 16)
_SHOWN_PERCENTILES = (1.0, 99.5)
_Colour = tuple[int, int, int]


def captures(
    segmented: SegmentedVolume, form: Form, measures: Sequence[SegmentMeasure]
) -> Iterator[ResultObject]:
    """Make an image of each slice that shows a segment, up to the descriptor's most.

    Where there are more, they are spread evenly; where nothing was found, it is the middle one.
    """
    sources = stand_ins(segmented.volume)
    window = _window(segmented)
    for number, index in enumerate(chosen_slices(segmented), start=1):
        picture = _picture(segmented, index, window, measures)
        yield _capture(segmented, form, sources[index], index, picture, number)


def chosen_slices(segmented: SegmentedVolume) -> list[int]:
    """Return the slices that are shown, from 0."""
    filled = np.flatnonzero([plane.any() for plane in segmented.label_map])
    if not filled.size:
        return [len(segmented.label_map) // 2]
    most = segmented.model.descriptor.capture_images
    if filled.size <= most:
        return [int(index) for index in filled]
    spread = np.linspace(0, filled.size - 1, most).round().astype(int)
    return [int(index) for index in filled[spread]]


def _capture(
    segmented: SegmentedVolume,
    form: Form,
    source: Dataset,
    index: int,
    picture: Image.Image,
    number: int,
) -> ResultObject:
    arguments = names(segmented, form, number)
    dataset: Dataset = SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=np.asarray(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=_letters(segmented),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **arguments,
    )
    settle(dataset, segmented, form)
    created = segmented.identity.created
    dataset.DateOfSecondaryCapture = DA(created.date())
    dataset.TimeOfSecondaryCapture = TM(created.time())
    dataset.ConversionType = "WSD"
    dataset.Laterality = source.get("Laterality", "")
    # It says whether the picture names the patient, and it does not.
    dataset.BurnedInAnnotation = "NO"
    dataset.DerivationDescription = f"Slice with segments of {segmented.model.name} burned in"
    dataset.SourceImageSequence = [source_reference(segmented.volume, index)]
    return ResultObject(form=form, dataset=encoded(dataset, form), segment_numbers={})


def _picture(
    segmented: SegmentedVolume,
    index: int,
    window: tuple[float, float],
    measures: Sequence[SegmentMeasure],
) -> Image.Image:
    low, high = window
    values = _plane(segmented, index)
    grey = np.clip((values - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    size = _size(segmented)
    shown = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))
    colours = np.repeat(shown[:, :, None], 3, axis=2).astype(np.float32)
    labels = _resized(segmented.label_map[index], size)
    for segment in segmented.model.descriptor.segments_by_label:
        inside = labels == segment.label_id
        if inside.any():
            colour = np.asarray(segment.colour_rgb, dtype=np.float32)
            colours[inside] = (1 - _FILL) * colours[inside] + _FILL * colour
            colours[_outline(inside)] = colour
    picture = Image.fromarray(colours.astype(np.uint8))
    return _with_words(picture, segmented, measures)


def _plane(segmented: SegmentedVolume, index: int) -> npt.NDArray[np.float32]:
    """Return the values of a slice as it was made."""
    volume = segmented.volume
    if volume.shear is None:
        return np.asarray(volume.array[index], dtype=np.float32)
    return np.asarray(volume.on_sources(volume.array)[index], dtype=np.float32)


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


def _with_words(
    picture: Image.Image, segmented: SegmentedVolume, measures: Sequence[SegmentMeasure]
) -> Image.Image:
    """Put the segments' names and volumes to the left above, and the model's words under it."""
    segments = segmented.model.descriptor.segments_by_label
    drawn = Image.new("RGB", (picture.width, picture.height + 3 * _LINE_HEIGHT), _DARK)
    drawn.paste(picture, (0, 0))
    canvas = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(_LINE_HEIGHT - 4)
    top = 4
    for segment, measured in list(zip(segments, measures, strict=True))[:_MOST_NAMES]:
        _word(canvas, (4, top), _said(segment, measured), font, segment.colour_rgb)
        top += _LINE_HEIGHT
    if len(segments) > _MOST_NAMES:
        _word(canvas, (4, top), f"and {len(segments) - _MOST_NAMES} more", font, _WHITE)
    model = segmented.model
    words = [segmented.series_description, f"{model.name} {model.version}, not reviewed"]
    for line, text in enumerate(words):
        _word(canvas, (4, picture.height + 4 + line * _LINE_HEIGHT), text, font, _WHITE)
    return drawn


def _said(segment: SegmentAttributes, measured: SegmentMeasure) -> str:
    return f"{segment.label}: {f'{measured.ml:,.1f} ml' if measured.voxels else 'not found'}"


def _word(
    canvas: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: _Colour,
) -> None:
    canvas.text(place, text, fill=colour, font=font, stroke_width=1, stroke_fill=_DARK)


def _window(segmented: SegmentedVolume) -> tuple[float, float]:
    """Return the values shown black and white: the source's own window, or most of its values."""
    source = segmented.volume.sources[len(segmented.volume.sources) // 2]
    try:
        centre, width = (_first(source.get(word)) for word in ("WindowCenter", "WindowWidth"))
    except (TypeError, ValueError, IndexError):
        centre, width = 0.0, 0.0
    if width > 0 and segmented.model.descriptor.input.suv is None:
        return centre - width / 2, centre + width / 2
    sample = segmented.volume.array[:: max(1, len(segmented.volume.array) // 16), ::4, ::4]
    low, high = np.percentile(sample, _SHOWN_PERCENTILES)
    return float(low), float(high)


def _first(value: Any) -> float:
    """Return the first of one or several numbers; raises TypeError for none."""
    return float(value if not hasattr(value, "__getitem__") else value[0])


def _letters(segmented: SegmentedVolume) -> tuple[str, str]:
    """Return where rows and columns lead: Patient Orientation (0020,0020) by its main letter."""
    affine_lps = segmented.volume.source_geometry.affine_lps
    names_of_axes = (("L", "R"), ("P", "A"), ("H", "F"))
    letters = []
    for axis in (2, 1):
        direction = affine_lps[:3, axis]
        main = int(np.abs(direction).argmax())
        letters.append(names_of_axes[main][0 if direction[main] > 0 else 1])
    return letters[0], letters[1]
