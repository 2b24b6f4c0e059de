"""Pixel data that the service could not take apart comes with the whole object."""

import asyncio
import json
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from gateway.errors import FrameUnreadable
from gateway.healthimaging import Instance, InstanceFailure, Session, read_instances
from tests.unit.healthimaging.clouds import QUICK, file_of
from tests.unit.healthimaging.made import UIDS
from tests.unit.healthimaging.scripted import Asked, Says, scripted

JPEG_12_BIT = UID("1.2.840.10008.1.2.4.51")
ENCAPSULATED = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00\xff\xd8\xff\xd9"


def original(syntax: UID, pixels: bytes | None) -> bytes:
    dataset = Dataset()
    for keyword, value in UIDS.items():
        setattr(dataset, keyword, value)
    if pixels is not None:
        dataset.add_new(0x7FE00010, "OB", pixels)
        dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = syntax
    return file_of(dataset)


METADATA = {
    "Study": {
        "DICOM": {"StudyInstanceUID": "1.2"},
        "Series": {
            "1.2.1": {
                "Instances": {
                    "1.2.3": {"DICOM": {**UIDS, "Rows": 8, "Columns": 8, "BitsAllocated": 8}}
                }
            }
        },
    }
}


def read(body: bytes) -> tuple[Instance | InstanceFailure, Asked]:
    async def work() -> tuple[Any, Asked]:
        answers = (Says(body=json.dumps(METADATA).encode()), Says(body=body))
        async with (
            scripted(*answers) as server,
            Session(server.data_store, retries=QUICK) as session,
        ):
            (item,) = [item async for item in read_instances(session, "f" * 32)]
            return item, server.asked[1]

    return asyncio.run(work())


def test_encapsulated_pixel_data_is_as_it_was_imported() -> None:
    item, asked = read(original(JPEG_12_BIT, ENCAPSULATED))
    assert isinstance(item, Instance)
    dataset = item.dataset()
    assert dataset.file_meta.TransferSyntaxUID == JPEG_12_BIT
    assert dataset.PixelData == ENCAPSULATED
    assert asked.method == "GET"
    assert asked.path.endswith("/studies/1.2/series/1.2.1/instances/1.2.3")
    assert asked.query == f"imageSetId={'f' * 32}"
    assert asked.headers["Accept"] == "application/dicom; transfer-syntax=*"


def test_native_pixel_data_too() -> None:
    item, _ = read(original(ExplicitVRLittleEndian, bytes(range(64))))
    assert isinstance(item, Instance)
    assert item.dataset().PixelData == bytes(range(64))


def test_an_object_without_pixel_data_has_none() -> None:
    item, _ = read(original(ExplicitVRLittleEndian, None))
    assert isinstance(item, Instance)
    assert "PixelData" not in item.dataset()


@pytest.mark.parametrize("body", [b"", b"<html>", original(ExplicitVRBigEndian, bytes(64))])
def test_what_cannot_be_taken_fails_the_instance(body: bytes) -> None:
    item, _ = read(body)
    assert isinstance(item, InstanceFailure)
    assert isinstance(item.reason, FrameUnreadable)
