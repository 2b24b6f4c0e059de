"""What DCMTK's findscu, movescu and getscu get from a running node."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan, write_series
from tests.peers import raw
from tests.peers.dcmtk import Said, StoreScp, findscu, getscu, movescu
from tests.peers.node import Node, Peer, Plan
from tests.peers.processes import free_port
from tests.peers.raw import Part10, read_part10

pytestmark = pytest.mark.peers

PATIENT_ROOT, STUDY_ROOT = "-P", "-S"
NUMBER = 12
CT_STUDY, CT_SERIES = "2.25.501", "2.25.501.1"
SHORT_SERIES = "2.25.501.2"
OTHER_STUDY, OTHER_SERIES = "2.25.502", "2.25.502.1"
NAME, ID = "Mustermann^Erika", "PID-4711"
OTHER_NAME, OTHER_ID = "Müller^Jörg", "PID-4712"


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A node, what was sent to it by SOP Instance UID, and one of its nodes."""

    node: Node
    sent: dict[str, Part10]
    destination: StoreScp
    slow: StoreScp

    @property
    def port(self) -> int:
        return self.node.dicom_port

    def of(self, *series: str) -> dict[str, bytes]:
        """Return the data sets that were sent of some series."""
        own = {uid: one for uid, one in self.sent.items() if uid.rpartition(".")[0] in series}
        return {uid: one.data_set for uid, one in own.items()}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """A node that holds two studies of two patients."""
    folder = tmp_path_factory.mktemp("archive")
    with ExitStack() as running:
        destination = running.enter_context(StoreScp(folder / "destination"))
        slow = running.enter_context(StoreScp(folder / "slow", "+xa", "-pm", "--sleep-after", "1"))
        away = Peer(ae_title="AWAY", port=free_port())
        peers = {
            "pacs": Peer(ae_title=destination.ae_title, port=destination.port),
            "slow": Peer(ae_title="SLOW", port=slow.port),
            "away": away,
        }
        node = running.enter_context(Node(folder / "node", Plan(rules={}, peers=peers)))
        sent = send_studies(node.dicom_port, folder / "slices")
        yield Archive(node=node, sent=sent, destination=destination, slow=slow)


def send_studies(port: int, folder: Path) -> dict[str, Part10]:
    acquisition = Acquisition(rows=32, columns=40, slices=NUMBER)
    paths = write_series(scan(Anatomy.asymmetric_object(), acquisition), folder)
    erika = {"PatientName": NAME, "PatientID": ID, "StudyInstanceUID": CT_STUDY}
    study = {**erika, "StudyDate": "20240229", "AccessionNumber": "A1"}
    joerg = {"PatientName": OTHER_NAME, "PatientID": OTHER_ID, "StudyInstanceUID": OTHER_STUDY}
    items = [
        *named(paths, CT_SERIES, SeriesDescription="Thorax venous", **study),
        *named(paths[:2], SHORT_SERIES, SeriesDescription="Topogram", **study),
        *named(
            paths[:3],
            OTHER_SERIES,
            SpecificCharacterSet="ISO_IR 100",
            StudyDate="20240105",
            AccessionNumber="A2",
            **joerg,
        ),
    ]
    answers = raw.send(port, items)
    assert {answer.status for answer in answers} == {0x0000}
    return {item.sop_instance_uid: item for item in items}


def named(paths: Sequence[Path], series: str, **values: str) -> list[Part10]:
    return [
        raw.changed(
            path,
            path.with_suffix(".changed"),
            SeriesInstanceUID=series,
            SOPInstanceUID=f"{series}.{number}",
            **values,
        )
        for number, path in enumerate(paths, start=1)
    ]


def found(archive: Archive, folder: Path, model: str, *keys: str) -> list[Dataset]:
    """Query, require success, and return the identifiers that came."""
    said = findscu(archive.port, model, *keys, answers=folder)
    assert said.status == 0, said.text
    assert final_status(said) == "0x0000", said.text
    return [dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


def final_status(said: Said) -> str:
    """Return the last status that the tool printed of a response."""
    lines = [line for line in said.text.splitlines() if "DIMSE Status" in line]
    return lines[-1].split(":")[2].split()[0].lower()


def received(paths: Iterable[Path]) -> dict[str, bytes]:
    """Return the data sets of files by SOP Instance UID."""
    items = [read_part10(path) for path in paths]
    return {item.sop_instance_uid: item.data_set for item in items}


def test_a_study_is_found_by_its_uid(archive: Archive, tmp_path: Path) -> None:
    keys = ("PatientName", "PatientID", "ModalitiesInStudy", "InstanceAvailability")
    numbers = ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
    (study,) = found(
        archive,
        tmp_path,
        STUDY_ROOT,
        "QueryRetrieveLevel=STUDY",
        f"StudyInstanceUID={CT_STUDY}",
        *keys,
        *numbers,
    )
    assert (study.StudyInstanceUID, study.PatientName, study.PatientID) == (CT_STUDY, NAME, ID)
    assert study.ModalitiesInStudy == "CT"
    assert study.NumberOfStudyRelatedSeries == 2
    assert study.NumberOfStudyRelatedInstances == NUMBER + 2
    assert (study.RetrieveAETitle, study.InstanceAvailability) == ("GATEWAY", "ONLINE")
    assert study.QueryRetrieveLevel == "STUDY"


@pytest.mark.parametrize(
    ("key", "studies"),
    [
        (f"PatientID={ID}", {CT_STUDY}),
        ("PatientName=mustermann*", {CT_STUDY}),
        ("PatientName=MUELLER*", set()),
        ("PatientName=MULLER^JORG", {OTHER_STUDY}),
        ("StudyDate=20240101-20240201", {OTHER_STUDY}),
        ("StudyDate=20240101-", {CT_STUDY, OTHER_STUDY}),
        ("AccessionNumber=A?", {CT_STUDY, OTHER_STUDY}),
        (f"StudyInstanceUID={CT_STUDY}\\{OTHER_STUDY}", {CT_STUDY, OTHER_STUDY}),
        ("ModalitiesInStudy=MR", set()),
        ("ModalitiesInStudy=CT", {CT_STUDY, OTHER_STUDY}),
    ],
)
def test_studies_are_found_by_other_keys(
    archive: Archive, tmp_path: Path, key: str, studies: set[str]
) -> None:
    keys = ["QueryRetrieveLevel=STUDY", key]
    if not key.startswith("StudyInstanceUID"):
        keys.append("StudyInstanceUID")
    assert {one.StudyInstanceUID for one in found(archive, tmp_path, STUDY_ROOT, *keys)} == studies


def test_the_hierarchy_is_walked_at_patient_root(archive: Archive, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("patients", "studies", "series", "images")]
    for folder in folders:
        folder.mkdir()
    patients = found(
        archive,
        folders[0],
        PATIENT_ROOT,
        "QueryRetrieveLevel=PATIENT",
        "PatientID",
        "PatientName",
        "NumberOfPatientRelatedStudies",
    )
    of_patient = f"PatientID={OTHER_ID}"
    (study,) = found(
        archive,
        folders[1],
        PATIENT_ROOT,
        "QueryRetrieveLevel=STUDY",
        of_patient,
        "StudyInstanceUID",
    )
    of_study = f"StudyInstanceUID={study.StudyInstanceUID}"
    (series,) = found(
        archive,
        folders[2],
        PATIENT_ROOT,
        "QueryRetrieveLevel=SERIES",
        of_patient,
        of_study,
        "SeriesInstanceUID",
        "NumberOfSeriesRelatedInstances",
    )
    images = found(
        archive,
        folders[3],
        PATIENT_ROOT,
        "QueryRetrieveLevel=IMAGE",
        of_patient,
        of_study,
        f"SeriesInstanceUID={series.SeriesInstanceUID}",
        "SOPInstanceUID",
    )
    assert {(str(one.PatientName), one.PatientID) for one in patients} == {
        (NAME, ID),
        (OTHER_NAME, OTHER_ID),
    }
    assert {one.NumberOfPatientRelatedStudies for one in patients} == {1}
    assert (series.SeriesInstanceUID, series.NumberOfSeriesRelatedInstances) == (OTHER_SERIES, 3)
    assert {one.SOPInstanceUID for one in images} == set(archive.of(OTHER_SERIES))


@pytest.mark.parametrize(
    ("model", "keys", "status"),
    [
        (STUDY_ROOT, ["QueryRetrieveLevel=SERIES", "Modality=CT"], "0xa900"),
        (STUDY_ROOT, ["QueryRetrieveLevel=PATIENT", "PatientID"], "0xa900"),
        (PATIENT_ROOT, ["QueryRetrieveLevel=STUDY", "StudyInstanceUID"], "0xa900"),
        (STUDY_ROOT, ["QueryRetrieveLevel=STUDY", "StudyDate=soon"], "0xa900"),
    ],
)
def test_a_query_that_lacks_what_its_level_needs_gets_a900(
    archive: Archive, model: str, keys: Sequence[str], status: str
) -> None:
    assert final_status(findscu(archive.port, model, *keys)) == status


def test_keys_that_are_not_supported_are_pending_with_ff01(archive: Archive) -> None:
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={CT_STUDY}", "PatientWeight"]
    said = findscu(archive.port, STUDY_ROOT, *keys)
    assert "0xff01" in said.text.lower()
    assert final_status(said) == "0x0000"


@pytest.mark.parametrize(
    ("model", "keys", "series"),
    [
        (
            STUDY_ROOT,
            ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={CT_STUDY}"],
            [CT_SERIES, SHORT_SERIES],
        ),
        (PATIENT_ROOT, ["QueryRetrieveLevel=PATIENT", f"PatientID={OTHER_ID}"], [OTHER_SERIES]),
        (
            STUDY_ROOT,
            [
                "QueryRetrieveLevel=SERIES",
                f"StudyInstanceUID={CT_STUDY}",
                f"SeriesInstanceUID={SHORT_SERIES}",
            ],
            [SHORT_SERIES],
        ),
    ],
)
def test_what_is_moved_arrives_byte_for_byte(
    archive: Archive, model: str, keys: Sequence[str], series: Sequence[str]
) -> None:
    for path in archive.destination.files():
        path.unlink()

    said = movescu(archive.port, model, *keys, destination="STORESCP")

    assert said.status == 0, said.text
    assert final_status(said) == "0x0000", said.text
    assert received(archive.destination.files()) == archive.of(*series)


def test_a_long_move_tells_its_progress(archive: Archive) -> None:
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={CT_STUDY}"]
    said = movescu(archive.port, STUDY_ROOT, *keys, destination="STORESCP")
    assert said.text.lower().count("0xff00") >= 2, said.text
    assert f"Remaining Suboperations       : {NUMBER + 2 - 5}" in said.text, said.text
    assert final_status(said) == "0x0000", said.text


@pytest.mark.parametrize(
    ("destination", "status"), [("NOBODY", "0xa801"), ("GATEWAY", "0xa801"), ("AWAY", "0xa702")]
)
def test_a_move_goes_to_configured_nodes_that_answer(
    archive: Archive, destination: str, status: str
) -> None:
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={OTHER_STUDY}"]
    said = movescu(archive.port, STUDY_ROOT, *keys, destination=destination)
    assert final_status(said) == status, said.text


def test_what_is_got_is_byte_for_byte_what_was_sent(archive: Archive, tmp_path: Path) -> None:
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={CT_STUDY}"]
    said = getscu(archive.port, STUDY_ROOT, *keys, folder=tmp_path)
    assert said.status == 0, said.text
    assert final_status(said) == "0x0000", said.text
    assert received(tmp_path.iterdir()) == archive.of(CT_SERIES, SHORT_SERIES)


def test_an_instance_is_got_alone(archive: Archive, tmp_path: Path) -> None:
    uid = f"{CT_SERIES}.7"
    keys = [
        "QueryRetrieveLevel=IMAGE",
        f"PatientID={ID}",
        f"StudyInstanceUID={CT_STUDY}",
        f"SeriesInstanceUID={CT_SERIES}",
        f"SOPInstanceUID={uid}",
    ]
    said = getscu(archive.port, PATIENT_ROOT, *keys, folder=tmp_path)
    assert final_status(said) == "0x0000", said.text
    assert received(tmp_path.iterdir()) == {uid: archive.sent[uid].data_set}


def test_a_cancelled_move_ends_there_with_fe00(archive: Archive) -> None:
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={CT_STUDY}"]
    said = movescu(archive.port, STUDY_ROOT, *keys, destination="SLOW", options=["--cancel", "1"])
    assert final_status(said) == "0xfe00", said.text
    assert 1 <= len(archive.slow.files()) < NUMBER


def test_no_word_of_a_patient_is_logged(archive: Archive) -> None:
    findscu(archive.port, STUDY_ROOT, "QueryRetrieveLevel=STUDY", f"PatientName={NAME}")
    findscu(archive.port, STUDY_ROOT, "QueryRetrieveLevel=SERIES", f"PatientID={ID}")
    log = archive.node.log()
    assert "query_refused" in log
    for word in (NAME, ID, OTHER_NAME, OTHER_ID):
        assert word not in log


def test_an_instance_in_a_syntax_that_the_peer_does_not_take_is_got_with_the_same_values(
    archive: Archive, tmp_path: Path
) -> None:
    """DCMTK's getscu wants explicit VR where it may choose."""
    sent = implicit_vr_slice(tmp_path / "sent.dcm")
    (answer,) = raw.send(archive.port, [read_part10(sent)])
    assert answer.status == 0x0000
    study = dcmread(sent).StudyInstanceUID
    folder = tmp_path / "got"
    folder.mkdir()

    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}"]
    said = getscu(archive.port, STUDY_ROOT, *keys, folder=folder)

    assert final_status(said) == "0x0000", said.text
    (path,) = folder.iterdir()
    assert dcmread(path).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert dcmread(path) == dcmread(sent)


def implicit_vr_slice(path: Path) -> Path:
    """Write one slice of a phantom in Implicit VR Little Endian."""
    acquisition = Acquisition(rows=32, columns=40, slices=1, seed=77)
    (slice_,) = scan(Anatomy.asymmetric_object(), acquisition)
    slice_.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dcmwrite(path, slice_, implicit_vr=True, little_endian=True, enforce_file_format=True)
    return path
