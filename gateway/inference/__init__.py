"""From a series to a segmentation: geometry, warm bundle processes, DICOM SEG."""

from gateway.inference.bundle import Bundle, Model, bundle_digest, list_models, load_model
from gateway.inference.descriptor import Descriptor, SegmentAttributes, load_descriptor
from gateway.inference.hosts import BundleHosts, Inference
from gateway.inference.pipeline import (
    SegmentationResult,
    SegmentMeasure,
    require_input,
    segment_series,
)
from gateway.inference.segmentation import ResultIdentity, input_digest, part10, segmentation
from gateway.inference.volume import SeriesVolume, read_series_volume

__all__ = [
    "Bundle",
    "BundleHosts",
    "Descriptor",
    "Inference",
    "Model",
    "ResultIdentity",
    "SegmentAttributes",
    "SegmentMeasure",
    "SegmentationResult",
    "SeriesVolume",
    "bundle_digest",
    "input_digest",
    "list_models",
    "load_descriptor",
    "load_model",
    "part10",
    "read_series_volume",
    "require_input",
    "segment_series",
    "segmentation",
]
