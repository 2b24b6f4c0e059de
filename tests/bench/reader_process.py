"""``python -m tests.bench.reader_process READER ENDPOINT DATASTORE IMAGE_SET``: one reading.

Prints as one line of JSON when the first and the last data set were there, in seconds from the
call on, the CRC-32 of the pixels of each, by SOP Instance UID, and the most memory it had. What a
program imports is loaded before the clock starts.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from pydicom import Dataset

from tests.bench.resources import peak_bytes

Read = Callable[[str, str, str], Iterator[Dataset]]


def gateway() -> Read:
    """Return the gateway's reader."""
    from gateway.healthimaging import read_image_set

    def read(endpoint_url: str, datastore_id: str, image_set_id: str) -> Iterator[Dataset]:
        return read_image_set(datastore_id, image_set_id, endpoint_url=endpoint_url)

    return read


def ahitodicom() -> Read:
    """Return AWS's sample library, with the numbers of processes that it chooses."""
    from AHItoDICOMInterface.AHItoDICOM import AHItoDICOM

    def read(endpoint_url: str, datastore_id: str, image_set_id: str) -> Iterator[Dataset]:
        helper = AHItoDICOM(AHI_endpoint=endpoint_url)
        return iter(helper.DICOMizeImageSet(datastore_id, image_set_id=image_set_id))

    return read


READERS: Mapping[str, tuple[Callable[[], Read], bool]] = MappingProxyType(
    {
        "gateway": (gateway, True),
        "gateway-streamed": (gateway, False),
        "AHItoDICOM": (ahitodicom, True),
    }
)
"""Readers by their names, and whether all data sets are kept until the last one is there."""


def measure(
    name: str, endpoint_url: str, datastore_id: str, image_set_id: str
) -> dict[str, object]:
    """Read an image set once."""
    make, keeps = READERS[name]
    read = make()
    kept: list[Dataset] = []
    checksums: dict[str, int] = {}
    began = time.perf_counter()
    first_seconds = 0.0
    for dataset in read(endpoint_url, datastore_id, image_set_id):
        first_seconds = first_seconds or time.perf_counter() - began
        if keeps:
            kept.append(dataset)
        else:
            checksums[str(dataset.SOPInstanceUID)] = zlib.crc32(dataset.PixelData)
    seconds = time.perf_counter() - began
    checksums |= {str(one.SOPInstanceUID): zlib.crc32(one.PixelData) for one in kept}
    return {
        "first_seconds": first_seconds,
        "seconds": seconds,
        "checksums": checksums,
        "peak_bytes": peak_bytes(os.getpid()),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(*sys.argv[1:5])) + "\n")
