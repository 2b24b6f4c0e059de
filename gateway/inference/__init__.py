"""From a series to its results: geometry, warm bundle processes, DICOM objects."""

from gateway.inference.bundle import Bundle, Model, bundle_digest, list_models, load_model
from gateway.inference.decoders import Decoders
from gateway.inference.descriptor import Descriptor, Output, SegmentAttributes, load_descriptor
from gateway.inference.forms import Form, MadeObject, forms_for, taken_by
from gateway.inference.hosts import BundleHosts, Inference
from gateway.inference.input_volumes import read_inputs
from gateway.inference.measurement import SegmentMeasure
from gateway.inference.pipeline import (
    SegmentationResult,
    WrittenObject,
    require_input,
    segment_series,
)
from gateway.inference.result import ResultIdentity, input_digest, part10
from gateway.inference.series_input import Choose, SeriesInput
from gateway.inference.volume import SeriesVolume, read_series_volume

__all__ = [
    "Bundle",
    "BundleHosts",
    "Choose",
    "Decoders",
    "Descriptor",
    "Form",
    "Inference",
    "MadeObject",
    "Model",
    "Output",
    "ResultIdentity",
    "SegmentAttributes",
    "SegmentMeasure",
    "SegmentationResult",
    "SeriesInput",
    "SeriesVolume",
    "WrittenObject",
    "bundle_digest",
    "forms_for",
    "input_digest",
    "list_models",
    "load_descriptor",
    "load_model",
    "part10",
    "read_inputs",
    "read_series_volume",
    "require_input",
    "segment_series",
    "taken_by",
]
