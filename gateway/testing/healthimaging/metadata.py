"""The metadata of an image set as one JSON document.

Source: HealthImaging developer guide, "Getting image set metadata" and "Metadata normalization";
API reference, GetImageSetMetadata.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.testing.healthimaging.frames import is_transcoded
from gateway.testing.healthimaging.image_sets import Version
from gateway.testing.healthimaging.instances import StoredFrame, StoredInstance
from gateway.testing.healthimaging.levels import Level, level_of

_SCHEMA_VERSION = "1.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class MetadataForm:
    """The forms of the document that can be had."""

    nulls_pixel_data: bool = False


def document(
    data_store_id: str, image_set_id: str, version: Version, form: MetadataForm
) -> dict[str, Any]:
    """Return the metadata of one version.

    What belongs to patient, study and series stands once, and not in the instances. Where
    instances differ in it, the first one's value stands for all.
    """
    patient: dict[str, Any] = {}
    study: dict[str, Any] = {}
    series: dict[str, Any] = {}
    for instance in version.instances.values():
        uid = instance.series_instance_uid
        of_series = series.setdefault(uid, {"DICOM": {}, "Instances": {}})
        own: dict[str, Any] = {}
        places: Mapping[Level, dict[str, Any]] = {
            Level.PATIENT: patient,
            Level.STUDY: study,
            Level.SERIES: of_series["DICOM"],
            Level.INSTANCE: own,
        }
        for key, value in instance.description.elements.items():
            places[level_of(key)].setdefault(key, value)
        of_series["Instances"][instance.sop_instance_uid] = _instance(instance, own, form)
    return {
        "SchemaVersion": _SCHEMA_VERSION,
        "DatastoreID": data_store_id,
        "ImageSetID": image_set_id,
        "Patient": {"DICOM": patient},
        "Study": {"DICOM": study, "Series": series},
    }


def _instance(
    instance: StoredInstance, elements: dict[str, Any], form: MetadataForm
) -> dict[str, Any]:
    if form.nulls_pixel_data and (instance.frames or instance.blob):
        elements["PixelData"] = None
    described: dict[str, Any] = {
        "DICOM": elements,
        "DICOMVRs": dict(instance.description.vrs),
        "StoredTransferSyntaxUID": instance.stored_transfer_syntax_uid,
    }
    if instance.frames:
        if is_transcoded(instance.stored_transfer_syntax_uid):
            described["ChecksumType"] = "DECOMPRESSED"
        described["ImageFrames"] = [_frame(one) for one in instance.frames]
    return described


def _frame(frame: StoredFrame) -> dict[str, Any]:
    return {
        "ID": frame.identifier,
        "PixelDataChecksumFromBaseToFullResolution": [
            {"Width": frame.width, "Height": frame.height, "Checksum": frame.checksum}
        ],
        "MinPixelValue": frame.minimum,
        "MaxPixelValue": frame.maximum,
        "FrameSizeInBytes": frame.size_bytes,
    }
