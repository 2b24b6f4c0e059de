"""A real Orthanc: the PACS beside the gateway."""

import http.client
import json
from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any, Self

from tests.peers.node import Peer
from tests.peers.processes import Child, free_port, wait_until

PROGRAM = Path("/usr/sbin/Orthanc")
_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


class Orthanc:
    """An Orthanc process with an empty archive, its REST interface and its DICOMweb plugin."""

    ae_title = "ORTHANC"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.dicom_port = free_port()
        self._http_port = free_port()
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def peer(self) -> Peer:
        """This PACS as a node of the gateway."""
        return Peer(ae_title=self.ae_title, port=self.dicom_port)

    def start(self) -> None:
        """Start with an archive of its own, or the one it had, and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "orthanc.json"
        settings.write_text(json.dumps(self._settings(), indent=1), encoding="utf-8")
        self._child = Child([str(PROGRAM), str(settings)], log=self._folder / "orthanc.log")
        wait_until(self._answers, "Orthanc answers", 30, 0.1, self._child.tail)

    def stop(self) -> None:
        """End Orthanc; its archive stays."""
        if self._child is not None:
            self._child.kill_group()
            self._child = None

    def know(self, name: str, ae_title: str, port: int) -> None:
        """Enter a modality that Orthanc can send to."""
        entry = {"AET": ae_title, "Host": "127.0.0.1", "Port": port}
        self._json("PUT", f"/modalities/{name}", entry)

    def know_web(self, name: str, port: int) -> None:
        """Enter a DICOMweb server of this machine that Orthanc can send to."""
        entry = {"Url": f"http://127.0.0.1:{port}/dicom-web/", "HasDelete": False}
        self._json("PUT", f"/dicom-web/servers/{name}", entry)

    def upload(self, path: Path) -> str:
        """Put a file into the archive; return Orthanc's identifier of its study."""
        answer = self._json("POST", "/instances", path.read_bytes())
        return str(answer["ParentStudy"])

    def send_to(self, name: str, resource: str) -> dict[str, Any]:
        """Have Orthanc send a study, series or instance to a modality by C-STORE."""
        return dict(self._json("POST", f"/modalities/{name}/store", resource.encode()))

    def stow_to(self, name: str, *resources: str) -> dict[str, Any]:
        """Have Orthanc send studies, series or instances to a DICOMweb server by STOW-RS."""
        body = {"Resources": list(resources), "Synchronous": True}
        return dict(self._json("POST", f"/dicom-web/servers/{name}/stow", body))

    def qido_at(self, name: str, resource: str, **filters: str) -> list[dict[str, Any]]:
        """Have Orthanc search a DICOMweb server; return each match's values by keyword."""
        body = {"Uri": f"/{resource}", "Arguments": filters}
        found = self._json("POST", f"/dicom-web/servers/{name}/qido", body)
        return [{one["Name"]: one.get("Value") for one in match.values()} for match in found]

    def instances(self, **query: str) -> list[dict[str, Any]]:
        """Return the main attributes of the instances that match DICOM keywords."""
        found = self._json(
            "POST", "/tools/find", {"Level": "Instance", "Query": query, "Expand": True}
        )
        return list(found)

    def segmentations(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """Return the segmentations of a study: Study, Series and SOP Instance UID of each."""
        return [
            self.uids(item["ID"])
            for item in self.instances(StudyInstanceUID=study_instance_uid, Modality="SEG")
        ]

    def wait_for_segmentation(
        self, study_instance_uid: str, seconds: float = 120
    ) -> dict[str, Any]:
        """Return the only segmentation of a study once there is one."""
        wait_until(
            lambda: self.segmentations(study_instance_uid) or None,
            f"a SEG in study {study_instance_uid}",
            seconds,
            0.5,
        )
        found = self.segmentations(study_instance_uid)
        assert len(found) == 1, f"{len(found)} segmentations in one study"
        return found[0]

    def retrieve(self, uids: Mapping[str, Any]) -> bytes:
        """Fetch one instance as a Part 10 file by DICOMweb WADO-RS (PS3.18 section 10.4)."""
        path = (
            f"/dicom-web/studies/{uids['StudyInstanceUID']}/series/{uids['SeriesInstanceUID']}"
            f"/instances/{uids['SOPInstanceUID']}"
        )
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        status, headers, body = self._request("GET", path, b"", {"Accept": accept})
        assert status == 200, f"WADO-RS answered {status}: {body[:300]!r}"
        head = f"Content-Type: {headers['Content-Type']}\r\nMIME-Version: 1.0\r\n\r\n".encode()
        parts = list(BytesParser(policy=HTTP).parsebytes(head + body).iter_parts())
        assert len(parts) == 1, f"WADO-RS answered {len(parts)} parts for one instance"
        content = parts[0].get_payload(decode=True)
        assert isinstance(content, bytes)
        return content

    def uids(self, instance: str) -> dict[str, Any]:
        """Return Study, Series and SOP Instance UID of an instance, and its class."""
        tags = self._json("GET", f"/instances/{instance}/simplified-tags")
        names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
        return {name: tags[name] for name in names}

    def _answers(self) -> bool:
        assert self._child is not None
        assert self._child.is_running, f"Orthanc ended\n{self._child.tail()}"
        try:
            return self._request("GET", "/system", b"", {})[0] == 200
        except OSError:
            return False

    def _json(self, method: str, path: str, body: object = b"") -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, answer = self._request(method, path, content, {})
        assert status == 200, f"{method} {path} answered {status}: {answer[:500]!r}"
        return json.loads(answer) if answer else None

    def _request(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _settings(self) -> dict[str, Any]:
        return {
            "Name": "PACS",
            "StorageDirectory": str(self._folder / "archive"),
            "IndexDirectory": str(self._folder / "archive"),
            "Plugins": [str(_DICOMWEB)],
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "HttpPort": self._http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "OverwriteInstances": False,
            "SyncStorageArea": False,
            "StableAge": 1,
            "DicomModalitiesInDatabase": True,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
