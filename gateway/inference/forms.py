"""The forms in which a node may get a result, and how an object tells which form it has.

A form is in the object's UIDs: whoever knows a form can tell whether an object has it, so that
a delivery needs neither a table nor the object's content.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from gateway.dicom.uids import derived_uid
from gateway.inference.descriptor import Output
from gateway.settings import ResultSettings, TransferSyntaxName

_TRANSFER_SYNTAXES: dict[TransferSyntaxName, str] = {
    "explicit-vr-little-endian": ExplicitVRLittleEndian,
    "implicit-vr-little-endian": ImplicitVRLittleEndian,
    "deflated-explicit-vr-little-endian": DeflatedExplicitVRLittleEndian,
    "rle-lossless": RLELossless,
    "jpeg-2000-lossless": JPEG2000Lossless,
    "jpeg-ls-lossless": JPEGLSLossless,
}
_COMPRESSIONS = frozenset({RLELossless, JPEG2000Lossless, JPEGLSLossless})
_COMPRESSIBLE = frozenset({Output.LABELMAP, Output.FRACTIONAL, Output.SC})
_FRAMED = (Output.SEG, Output.FRACTIONAL, Output.LABELMAP)
_SEGMENTED = (Output.SEG, Output.LABELMAP, Output.FRACTIONAL)
"""What a report can refer to, the one preferred first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """A kind of object with the choices that a node may make about it."""

    output: Output
    omit_empty_frames: bool = True
    max_frames: int = 0
    transfer_syntax_uid: str = ExplicitVRLittleEndian
    about: "Form | None" = None
    """The segmentation that a report refers to."""

    @classmethod
    def made(cls, output: Output, settings: ResultSettings, about: "Form | None" = None) -> Self:
        """Return the form of one kind of object for a node with these settings."""
        transfer_syntax_uid = _TRANSFER_SYNTAXES[settings.transfer_syntax]
        if transfer_syntax_uid in _COMPRESSIONS and output not in _COMPRESSIBLE:
            transfer_syntax_uid = ExplicitVRLittleEndian
        if output is Output.RTSTRUCT:
            # Contours are often longer than a value of explicit VR can be (PS3.5 section 7.1.2).
            transfer_syntax_uid = ImplicitVRLittleEndian
        is_framed = output in _FRAMED
        return cls(
            output=output,
            omit_empty_frames=settings.omit_empty_frames if is_framed else True,
            # A label map's frames hold all segments, so that it cannot be parted by them.
            max_frames=settings.max_frames if is_framed and output is not Output.LABELMAP else 0,
            transfer_syntax_uid=transfer_syntax_uid,
            about=about,
        )

    @property
    def key(self) -> str:
        """A text that no other form has; empty for the form that was there first."""
        if self == DEFAULT:
            return ""
        about = "" if self.about is None else f" about [{self.about.key}]"
        frames = f"{'some' if self.omit_empty_frames else 'all'} {self.max_frames}"
        return f"{self.output} {frames} {self.transfer_syntax_uid}{about}"

    def series_instance_uid(self, prefix: Sequence[str]) -> str:
        """Return the UID of the series for objects of this form of the result ``prefix``."""
        return derived_uid("series", *prefix, *filter(None, [self.key]))

    def sop_instance_uid(self, prefix: Sequence[str], number: int = 1) -> str:
        """Return the UID of the object with this number, from 1, in its series."""
        if self == DEFAULT:
            return derived_uid("instance", *prefix)
        return self._instance_of(self.series_instance_uid(prefix), number)

    def has_made(self, sop_instance_uid: str, series_instance_uid: str, most: int) -> bool:
        """Tell whether an object has this form and a number up to ``most``.

        The first form is no part of its objects' UIDs: for it, this is always False.
        """
        if self == DEFAULT:
            return False
        numbers = range(1, most + 1)
        return any(self._instance_of(series_instance_uid, n) == sop_instance_uid for n in numbers)

    def _instance_of(self, series_instance_uid: str, number: int) -> str:
        return derived_uid("instance", self.key, series_instance_uid, str(number))


DEFAULT = Form(output=Output.SEG)
"""A binary segmentation, native, without empty frames: what every receiver reads."""


def forms_for(outputs: Iterable[Output], settings: ResultSettings) -> tuple[Form, ...]:
    """Return the forms in which a node gets a model's outputs; a report refers to its neighbour.

    A report goes to a node beside a segmentation that the node gets, and so comes after it.
    """
    taken = _taken(outputs, settings)
    forms = [Form.made(output, settings) for output in taken if output is not Output.SR]
    if Output.SR in taken:
        first = {form.output: form for form in reversed(forms)}
        about = next((first[output] for output in _SEGMENTED if output in first), None)
        forms.append(Form.made(Output.SR, settings, about))
    return tuple(forms)


def report_form(settings: ResultSettings) -> tuple[Form, ...]:
    """Return the form of a report that refers to no segmentation, where the node takes reports."""
    if settings.outputs is not None and Output.SR not in settings.outputs:
        return ()
    return (Form.made(Output.SR, settings),)


def possible_forms(settings: ResultSettings) -> tuple[Form, ...]:
    """Return every form that a node with these settings may get, whatever the model."""
    outputs = [o for o in Output if settings.outputs is None or o in settings.outputs]
    plain = [Form.made(output, settings) for output in outputs]
    if Output.SR not in outputs:
        return tuple(plain)
    segmented = [form for form in plain if form.output in _SEGMENTED]
    return (*plain, *(Form.made(Output.SR, settings, about) for about in segmented))


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeObject:
    """What names an object that a model made."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


def taken_by(
    made: Sequence[MadeObject], settings: ResultSettings, every: Iterable[ResultSettings]
) -> tuple[MadeObject, ...]:
    """Return those of a job's objects that a node takes.

    ``every`` has the settings of all nodes, since an object in the first form is known by having
    none of theirs.
    """
    known = dict.fromkeys(form for one in (*every, settings) for form in possible_forms(one))
    wanted = frozenset(possible_forms(settings))
    return tuple(one for one in made if form_of(one, known, len(made)) in wanted)


def form_of(made: MadeObject, known: Iterable[Form], most: int) -> Form:
    """Return the form of an object; what no node's settings know any more goes as the first."""
    for form in known:
        if form.has_made(made.sop_instance_uid, made.series_instance_uid, most):
            return form
    return DEFAULT


def _taken(outputs: Iterable[Output], settings: ResultSettings) -> tuple[Output, ...]:
    """Choose from a model's outputs; SEG and label map stand in for each other."""
    listed = tuple(dict.fromkeys(outputs))
    if settings.outputs is None:
        return listed
    allowed = frozenset(Output(name) for name in settings.outputs)
    other = {Output.SEG: Output.LABELMAP, Output.LABELMAP: Output.SEG}
    chosen = [o if o in allowed else other.get(o, o) for o in listed]
    return tuple(dict.fromkeys(output for output in chosen if output in allowed))
