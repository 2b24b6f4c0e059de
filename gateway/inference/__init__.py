"""From a series to its results: geometry, warm bundle processes, DICOM objects."""

from gateway.inference.bundle import (
    Bundle,
    Model,
    bundle_digest,
    bundle_files,
    descriptor_files,
    list_models,
    load_model,
)
from gateway.inference.bundle_digests import BundleDigests
from gateway.inference.decoders import Decoders
from gateway.inference.descriptor import Descriptor, Output, SegmentAttributes, load_descriptor
from gateway.inference.forms import Form, MadeObject, forms_for, taken_by
from gateway.inference.host_requirements import Priority
from gateway.inference.hosts import KEPT_FOLDER, BundleHosts, Inference
from gateway.inference.input_volumes import read_inputs
from gateway.inference.measurement import SegmentMeasure
from gateway.inference.pipeline import (
    SegmentationResult,
    WrittenObject,
    require_input,
    segment_series,
)
from gateway.inference.result import ResultIdentity, input_digest, part10
from gateway.inference.selection import SourceFrame, select_frames
from gateway.inference.series_input import Choose, SeriesInput
from gateway.inference.turns import due_at
from gateway.inference.volume import SeriesVolume, read_series_volume

__all__ = [
    "KEPT_FOLDER",
    "Bundle",
    "BundleDigests",
    "BundleHosts",
    "Choose",
    "Decoders",
    "Descriptor",
    "Form",
    "Inference",
    "MadeObject",
    "Model",
    "Output",
    "Priority",
    "ResultIdentity",
    "SegmentAttributes",
    "SegmentMeasure",
    "SegmentationResult",
    "SeriesInput",
    "SeriesVolume",
    "SourceFrame",
    "WrittenObject",
    "bundle_digest",
    "bundle_files",
    "descriptor_files",
    "due_at",
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
    "select_frames",
    "taken_by",
]
