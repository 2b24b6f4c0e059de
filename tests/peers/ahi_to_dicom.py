"""AHItoDICOMInterface, AWS's own sample that reads image sets, in processes of its own.

It starts processes by forking, which a process of several threads must not do, and hangs for ever
where a frame fails: so it runs as a program, for a limited time.
"""

import subprocess
import sys
from pathlib import Path

from pydicom import Dataset, dcmread

from tests.peers.cloud import Cloud

_LONGEST_SECONDS = 90.0


def read_image_set(cloud: Cloud, image_set_id: str, folder: Path) -> list[Dataset]:
    """Have an image set read and written to a folder; return its data sets by Instance Number."""
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", __name__, cloud.data_store_id, image_set_id, str(folder)],
        env={**cloud.environment, "PATH": "/usr/bin:/bin"},
        timeout=_LONGEST_SECONDS,
        check=True,
        capture_output=True,
    )
    return [dcmread(path) for path in sorted(folder.iterdir())]


def main(data_store_id: str, image_set_id: str, folder: str) -> None:
    from AHItoDICOMInterface.AHItoDICOM import AHItoDICOM

    reader = AHItoDICOM(fetcher_process_count=2, dicomizer_process_count=1)
    datasets = reader.DICOMizeImageSet(datastore_id=data_store_id, image_set_id=image_set_id)
    for number, dataset in enumerate(datasets):
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.save_as(Path(folder) / f"{number:04d}.dcm", enforce_file_format=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
