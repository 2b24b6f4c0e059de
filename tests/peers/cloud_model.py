"""A model that somebody else runs on series without names, and that knows only highdicom."""

from collections.abc import Sequence

import highdicom
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid


def segmentation(slices: Sequence[Dataset]) -> Dataset:
    """Make a SEG of a random mask, with an identity and a time of its own."""
    mask = np.random.default_rng(7).random((len(slices), slices[0].Rows, slices[0].Columns)) > 0.9
    description = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Liver",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="cloud", version="1", family=codes.DCM.ArtificialIntelligence
        ),
    )
    made: Dataset = highdicom.seg.Segmentation(
        source_images=list(slices),
        pixel_array=mask,
        segmentation_type="BINARY",
        segment_descriptions=[description],
        series_instance_uid=generate_uid(),
        series_number=300,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Cloud",
        manufacturer_model_name="Model",
        software_versions="1",
        device_serial_number="1",
    )
    return made
