"""What a cloud makes of a series without names finds its way back to the patient."""

from collections.abc import Callable, Collection, Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from gateway.dicom.data_set import read_data_set
from gateway.dicom.deidentification import (
    DeidentifiedInstance,
    KeptInstance,
    OriginalKind,
    Pseudonyms,
    deidentified,
    reidentified,
)
from gateway.dicom.part10 import file_header
from gateway.errors import PseudonymUnknown
from tests.peers.cloud_model import segmentation
from tests.peers.corpus import Corpus
from tests.peers.dicom3tools import dciodvfy_errors
from tests.unit.dicom.deidentification.instances import kept, kept_file

TODAY = date(2026, 3, 1)
NAMES = {
    "PatientName": "Grünwald^Ottilie",
    "PatientID": "MRN-48151623",
    "IssuerOfPatientID": "KLINIKUM",
    "PatientBirthDate": "19520317",
    "PatientSex": "F",
    "AccessionNumber": "ACC-2342",
    "StudyID": "ST-108",
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "ReferringPhysicianName": "Zweig^Stefan",
    "StudyDescription": "Abdomen Grünwald",
    "SpecificCharacterSet": "ISO_IR 100",
}


class Memory:
    """What a node remembers, without its table."""

    def __init__(self) -> None:
        self.known: dict[tuple[OriginalKind, str], Mapping[str, str]] = {}

    def remember(self, result: DeidentifiedInstance) -> None:
        self.known.update({(one.kind, one.pseudonym): one.values for one in result.originals})

    def find(self, kind: OriginalKind, wanted: Collection[str]) -> Mapping[str, Mapping[str, str]]:
        return {one: self.known[kind, one] for one in wanted if (kind, one) in self.known}


def loaded(instance: KeptInstance, data_set: bytes, sop_instance_uid: str, path: Path) -> Dataset:
    """Return an instance as whoever receives it reads it from a file."""
    header = file_header(instance.sop_class_uid, sop_instance_uid, instance.transfer_syntax_uid)
    path.write_bytes(header + data_set)
    return dcmread(path)


@pytest.fixture(scope="module")
def originals(corpus: Corpus) -> list[Path]:
    """A real CT series that says whose it is."""
    series = corpus.folder("ct-siemens-j2k-totalseg/example_ct_dicom")[:6]
    return corpus.named(series, "round-trip", **NAMES)


@pytest.fixture(scope="module")
def way(
    originals: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Memory, list[Dataset], Dataset]:
    """What the node remembers, what the cloud has got, and what it made of it."""
    folder, memory, sent = tmp_path_factory.mktemp("cloud"), Memory(), []
    for number, path in enumerate(originals):
        instance = kept_file(path)
        assert instance is not None
        result = deidentified(instance, Pseudonyms(bytes(32)), TODAY)
        memory.remember(result)
        target = folder / f"{number}.dcm"
        sent.append(loaded(instance, result.data_set, result.sop_instance_uid, target))
    return memory, sent, segmentation(sent)


@pytest.fixture(scope="module")
def returned(way: tuple[Memory, list[Dataset], Dataset], pseudonyms: Pseudonyms) -> Dataset:
    memory, _, made = way
    result = reidentified(kept(made), pseudonyms, memory.find)
    return read_data_set(result.data_set, str(ExplicitVRLittleEndian))


@pytest.mark.corpus
def test_the_cloud_made_it_on_the_series_without_names(
    way: tuple[Memory, list[Dataset], Dataset],
) -> None:
    _, sent, made = way
    assert made.PatientID == sent[0].PatientID != NAMES["PatientID"]
    assert made.StudyInstanceUID == sent[0].StudyInstanceUID


@pytest.mark.corpus
def test_it_is_of_the_patient_and_study_again(returned: Dataset, originals: list[Path]) -> None:
    first = dcmread(originals[0])
    for keyword in (
        *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
        *("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"),
        *("ReferringPhysicianName", "StudyDescription", "FrameOfReferenceUID"),
    ):
        assert str(returned[keyword].value) == str(first[keyword].value), keyword
    assert "PatientIdentityRemoved" not in returned


@pytest.mark.corpus
def test_every_reference_leads_to_an_original_slice(
    returned: Dataset, originals: list[Path]
) -> None:
    uids = {str(dcmread(path).SOPInstanceUID) for path in originals}
    (series,) = returned.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == dcmread(originals[0]).SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence} == uids
    frames = {
        source.ReferencedSOPInstanceUID
        for frame in returned.PerFrameFunctionalGroupsSequence
        for derivation in frame.DerivationImageSequence
        for source in derivation.SourceImageSequence
    }
    assert frames == uids


@pytest.mark.corpus
def test_each_frame_lies_on_the_slice_it_refers_to(
    returned: Dataset, originals: list[Path], way: tuple[Memory, list[Dataset], Dataset]
) -> None:
    places = {one.SOPInstanceUID: one.ImagePositionPatient for one in map(dcmread, originals)}
    for frame in returned.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(position, places[source])
    assert returned.PixelData == way[2].PixelData


@pytest.mark.corpus
def test_what_it_is_itself_is_new_and_stays_the_same(
    returned: Dataset, way: tuple[Memory, list[Dataset], Dataset], pseudonyms: Pseudonyms
) -> None:
    memory, _, made = way
    again = reidentified(kept(made), pseudonyms, memory.find)
    assert again.sop_instance_uid == returned.SOPInstanceUID != made.SOPInstanceUID
    assert returned.SeriesInstanceUID != made.SeriesInstanceUID
    assert read_data_set(again.data_set, str(ExplicitVRLittleEndian)) == returned


@pytest.mark.corpus
def test_when_it_was_made_is_not_moved(
    returned: Dataset, way: tuple[Memory, list[Dataset], Dataset]
) -> None:
    for keyword in ("ContentDate", "InstanceCreationDate"):
        assert str(returned[keyword].value) == str(way[2][keyword].value)


@pytest.mark.corpus
@pytest.mark.peers
def test_dciodvfy_finds_nothing_new_on_either_way(
    returned: Dataset,
    originals: list[Path],
    way: tuple[Memory, list[Dataset], Dataset],
    tmp_path: Path,
) -> None:
    _, sent, made = way
    saved(sent[0], tmp_path / "sent.dcm")
    assert new_errors(originals[0], tmp_path / "sent.dcm") == set()
    made.save_as(tmp_path / "made.dcm")
    returned.file_meta = made.file_meta
    saved(returned, tmp_path / "returned.dcm")
    assert new_errors(tmp_path / "made.dcm", tmp_path / "returned.dcm") == set()


def saved(dataset: Dataset, path: Path) -> None:
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dcmwrite(path, dataset, enforce_file_format=True)


def new_errors(before: Path, after: Path) -> set[str]:
    return set(dciodvfy_errors(after)) - set(dciodvfy_errors(before))


@pytest.fixture
def made(image: Dataset, pseudonyms: Pseudonyms) -> tuple[Memory, Dataset]:
    """A small result in the study of an image that was de-identified."""
    memory, result = Memory(), deidentified(kept(image), pseudonyms, TODAY)
    memory.remember(result)
    sent = read_data_set(result.data_set, str(ExplicitVRLittleEndian))
    made = Dataset()
    for keyword in ("SOPClassUID", "PatientID", "PatientName", "StudyInstanceUID", "StudyDate"):
        setattr(made, keyword, sent[keyword].value)
    made.SOPInstanceUID, made.SeriesInstanceUID = "2.25.77", "2.25.78"
    return memory, made


Change = Callable[[Dataset], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: setattr(made, "StudyInstanceUID", "2.25.1"), "study is no pseudonym"),
        (lambda made: setattr(made, "PatientID", "MRN-48151623"), "patient is not that study's"),
        (lambda made: setattr(made, "PatientID", ""), "patient is not that study's"),
    ],
)
def test_unknown_pseudonyms_are_refused_without_a_word_of_the_patient(
    made: tuple[Memory, Dataset], pseudonyms: Pseudonyms, change: Change, message: str
) -> None:
    memory, dataset = made
    change(dataset)
    with pytest.raises(PseudonymUnknown, match=message) as caught:
        reidentified(kept(dataset), pseudonyms, memory.find)
    assert "MRN" not in str(caught.value)


def test_the_patient_of_another_study_is_refused(
    image: Dataset, made: tuple[Memory, Dataset], pseudonyms: Pseudonyms
) -> None:
    memory, dataset = made
    image.PatientID, image.StudyInstanceUID = "MRN-2", "1.2.3.9"
    other = deidentified(kept(image), pseudonyms, TODAY)
    memory.remember(other)
    dataset.PatientID = read_data_set(other.data_set, str(ExplicitVRLittleEndian)).PatientID
    with pytest.raises(PseudonymUnknown, match="patient is not that study's"):
        reidentified(kept(dataset), pseudonyms, memory.find)


def test_an_instance_that_was_sent_is_no_result(
    image: Dataset, made: tuple[Memory, Dataset], pseudonyms: Pseudonyms
) -> None:
    memory, dataset = made
    dataset.SOPInstanceUID = pseudonyms.uid(str(image.SOPInstanceUID))
    with pytest.raises(PseudonymUnknown, match="was de-identified here"):
        reidentified(kept(dataset), pseudonyms, memory.find)


def test_dates_of_the_patient_move_back_and_those_of_the_result_stay(
    made: tuple[Memory, Dataset], pseudonyms: Pseudonyms
) -> None:
    memory, dataset = made
    dataset.AcquisitionDateTime = f"{dataset.StudyDate}101500"
    dataset.ContentDate = "20260305"
    result = reidentified(kept(dataset), pseudonyms, memory.find)
    returned = read_data_set(result.data_set, str(ExplicitVRLittleEndian))
    assert returned.AcquisitionDateTime == "20240229101500"
    assert returned.ContentDate == "20260305"


def test_results_that_refer_to_each_other_still_do(
    made: tuple[Memory, Dataset], pseudonyms: Pseudonyms
) -> None:
    memory, dataset = made
    first = reidentified(kept(dataset), pseudonyms, memory.find)
    reference = Dataset()
    reference.ReferencedSOPClassUID = dataset.SOPClassUID
    reference.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SOPInstanceUID = "2.25.79"
    dataset.SourceImageSequence = [reference]
    second = reidentified(kept(dataset), pseudonyms, memory.find)
    returned = read_data_set(second.data_set, str(ExplicitVRLittleEndian))
    source = returned.SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == first.sop_instance_uid
    assert source.ReferencedSOPClassUID == dataset.SOPClassUID
