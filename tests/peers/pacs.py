"""Orthanc as the PACS that counts series, and that asks for storage commitment."""

from typing import Any

from tests.peers.orthanc import Orthanc
from tests.peers.processes import wait_until


class AskingPacs(Orthanc):
    """An Orthanc that counts by C-FIND and QIDO-RS, and is a user of storage commitment."""

    @property
    def dicom_web_url(self) -> str:
        """The address of its DICOMweb services."""
        return f"http://127.0.0.1:{self._http_port}/dicom-web"

    def request_commitment(self, name: str, *instances: tuple[str, str]) -> dict[str, Any]:
        """Ask a modality to commit to instances, (class, instance) each; return the report."""
        body = {"DicomInstances": [list(one) for one in instances], "Timeout": 60}
        path = str(self._json("POST", f"/modalities/{name}/storage-commitment", body)["Path"])

        def report() -> dict[str, Any] | None:
            found = dict(self._json("GET", path))
            return found if found["Status"] != "Pending" else None

        return wait_until(report, "Orthanc has the report", 30, 0.2)
