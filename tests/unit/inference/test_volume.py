"""Files of a series become one array, or are refused before any pixel is decoded."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import PositronEmissionTomographyImageStorage, RLELossless

from gateway.dicom.reasons import GeometryReason, InputReason
from gateway.errors import DataSetUnreadable, GeometryRefused, InputRefused
from gateway.inference import SeriesVolume, read_series_volume
from gateway.inference.input_requirements import InputRequirements
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import (
    Acquisition,
    Cosines,
    Pixels,
    acquire,
    scan,
    truth,
    write_series,
)
from gateway.testing.tissue import Tissue
from tests.peers.corpus import Corpus
from tests.unit.dicom.images import as_mr, enhanced, slices

ACQUISITION = Acquisition(
    rows=9,
    columns=8,
    slices=5,
    row_spacing_mm=10.0,
    column_spacing_mm=12.0,
    slice_spacing_mm=15.0,
    centre_lps_mm=(31.0, -47.0, 112.0),
    pixels=Pixels.UNSIGNED_12,
    shuffled=True,
)


# Row and column cosines by the direction in which slices are counted: left, posterior, superior
# and their opposites, and one that no axis is near to.
DIRECTIONS: dict[str, Cosines] = {
    "left": (0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    "right": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "posterior": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "anterior": (1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "superior": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "inferior": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "oblique": (0.8, 0.36, -0.48, -0.6, 0.48, -0.64),
}


def written(folder: Path, datasets: list[Dataset] | None = None) -> list[Path]:
    scanned = scan(Anatomy.asymmetric_object(), ACQUISITION) if datasets is None else datasets
    return write_series(scanned, folder)


def test_slices_come_in_the_order_of_their_positions(tmp_path: Path) -> None:
    volume = read_series_volume(written(tmp_path))
    hounsfield, _ = acquire(Anatomy.asymmetric_object(), ACQUISITION)
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, np.rint(hounsfield).clip(min=-1024))
    assert np.allclose(volume.geometry.affine_lps, ACQUISITION.affine_lps, atol=1e-6)
    heights = [source.ImagePositionPatient[2] for source in volume.sources]
    assert heights == sorted(heights)
    assert list(volume.timings_ms) == ["read", "decode"]


def test_sources_carry_no_pixels(tmp_path: Path) -> None:
    assert not any("PixelData" in s for s in read_series_volume(written(tmp_path)).sources)


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    datasets = scan(Anatomy.asymmetric_object(), ACQUISITION)
    plain = read_series_volume(written(tmp_path / "plain", datasets))
    for index, dataset in enumerate(datasets):
        dataset.RescaleSlope = str(1 + index)
    scaled = read_series_volume(written(tmp_path / "scaled", datasets))
    slopes = np.array([float(source.RescaleSlope) for source in scaled.sources])
    expected = (plain.array + 1024) * slopes[:, None, None] - 1024
    assert np.array_equal(scaled.array, expected)


def test_a_refused_geometry_costs_no_decoding(tmp_path: Path) -> None:
    datasets = scan(Anatomy.asymmetric_object(), ACQUISITION)
    for dataset in datasets:
        dataset.PixelData = b""
    by_height = sorted(datasets, key=lambda dataset: dataset.ImagePositionPatient[2])
    with pytest.raises(GeometryRefused, match="missing-slice"):
        read_series_volume(written(tmp_path, [*by_height[:2], *by_height[3:]]))


def test_two_series_at_once_are_refused(tmp_path: Path) -> None:
    datasets = scan(Anatomy.asymmetric_object(), ACQUISITION)
    datasets[0].SeriesInstanceUID = "1.2.3"
    with pytest.raises(InputRefused, match="2 series"):
        read_series_volume(written(tmp_path, datasets))


def test_an_object_that_is_no_image_is_refused(tmp_path: Path) -> None:
    datasets = scan(Anatomy.asymmetric_object(), ACQUISITION)
    for dataset in datasets:
        del dataset.Rows, dataset.Columns
    with pytest.raises(InputRefused, match="is no image: CT Image Storage"):
        read_series_volume(written(tmp_path, datasets))


def test_a_file_that_is_no_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a DICOM file" * 20)
    with pytest.raises(DataSetUnreadable, match=r"notes\.txt"):
        read_series_volume([tmp_path / "notes.txt"])


def test_pixels_that_do_not_decode_refuse_the_series(tmp_path: Path) -> None:
    datasets = scan(Anatomy.asymmetric_object(), ACQUISITION)
    datasets[3].PixelData = datasets[3].PixelData[:20]
    with pytest.raises(InputRefused, match=str(datasets[3].SOPInstanceUID)):
        read_series_volume(written(tmp_path, datasets))


def test_emptied_uids_are_taken_from_the_file_meta_information(tmp_path: Path) -> None:
    paths = written(tmp_path)
    names = set()
    for path in paths:
        dataset = dcmread(path)
        names.add(dataset.SOPInstanceUID)
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            dataset[keyword].value = ""
        dataset.save_as(path)
    volume = read_series_volume(paths)
    assert {source.SOPInstanceUID for source in volume.sources} == names
    assert len({source.SeriesInstanceUID for source in volume.sources}) == 1
    assert volume.sources[0].StudyInstanceUID.startswith("2.25.")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("reversed_files", [False, True])
def test_voxels_and_their_places_are_exact_in_every_direction(
    tmp_path: Path, direction: str, reversed_files: bool
) -> None:
    acquisition = Acquisition(
        plane=DIRECTIONS[direction],
        rows=33,
        columns=27,
        slices=21,
        row_spacing_mm=3.0,
        column_spacing_mm=3.5,
        slice_spacing_mm=4.5,
        centre_lps_mm=(31.0, -47.0, 112.0),
        noise_hu=5.0,
        shuffled=True,
    )
    anatomy = Anatomy.asymmetric_object()
    paths = sorted(written(tmp_path, scan(anatomy, acquisition)), reverse=reversed_files)
    volume = read_series_volume(paths)
    hounsfield, _ = acquire(anatomy, acquisition)
    assert np.array_equal(volume.array, np.rint(hounsfield).clip(-1024, 3071))
    assert np.allclose(volume.geometry.affine_lps, acquisition.affine_lps, atol=1e-6)
    bone = np.argwhere(truth(anatomy, acquisition) == Tissue.BONE).mean(axis=0)
    centroid_lps_mm = (volume.geometry.affine_lps @ [*bone, 1])[:3]
    assert anatomy.bone_centroid_lps_mm is not None
    assert centroid_lps_mm == pytest.approx(anatomy.bone_centroid_lps_mm, abs=1.0)


def classic(modality: str = "CT") -> list[Dataset]:
    """Scan slices in an order of their own, each with its own rescale."""
    datasets = scan(Anatomy.asymmetric_object(), ACQUISITION)
    for index, dataset in enumerate(datasets):
        dataset.RescaleSlope = str(1 + index)
    return datasets if modality == "CT" else as_mr(datasets)


def assert_equal(one: SeriesVolume, other: SeriesVolume) -> None:
    assert np.array_equal(one.array, other.array)
    assert one.array.dtype == other.array.dtype
    assert np.array_equal(one.geometry.affine_lps, other.geometry.affine_lps)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("encoding", ["native", "RLE"])
def test_an_enhanced_object_is_the_same_volume_as_the_classic_series(
    tmp_path: Path, modality: str, encoding: str
) -> None:
    datasets = classic(modality)
    dataset = enhanced(datasets)
    if encoding == "RLE":
        dataset.compress(RLELossless, generate_instance_uid=False)
    one = read_series_volume(written(tmp_path / "enhanced", [dataset]))
    other = read_series_volume(written(tmp_path / "classic", datasets))
    assert_equal(one, other)
    uids = [classic.SOPInstanceUID for classic in datasets]
    expected = tuple(1 + uids.index(source.SOPInstanceUID) for source in other.sources)
    assert one.frame_numbers == expected != (1, 2, 3, 4, 5)
    assert other.frame_numbers == (None,) * 5
    assert {source.SOPInstanceUID for source in one.sources} == {dataset.SOPInstanceUID}
    assert len(one.sources) == 5


def test_several_enhanced_objects_make_one_volume(tmp_path: Path) -> None:
    datasets = classic()
    parts = [enhanced(datasets[:2]), enhanced(datasets[2:])]
    parts[1].InstanceNumber = 2
    one = read_series_volume(written(tmp_path / "enhanced", parts))
    assert_equal(one, read_series_volume(written(tmp_path / "classic", datasets)))
    named = {(s.SOPInstanceUID, n) for s, n in zip(one.sources, one.frame_numbers, strict=True)}
    first, second = (part.SOPInstanceUID for part in parts)
    assert named == {(first, 1), (first, 2), (second, 1), (second, 2), (second, 3)}


def test_frames_that_the_pixel_data_lacks_refuse_the_series(tmp_path: Path) -> None:
    dataset = enhanced(classic())
    dataset.PixelData = dataset.PixelData[:300]
    with pytest.raises(InputRefused) as caught:
        read_series_volume(written(tmp_path, [dataset]))
    assert caught.value.reason == InputReason.UNREADABLE_PIXELS
    assert caught.value.instances == (dataset.SOPInstanceUID,)


def test_ways_of_showing_and_real_world_values_change_no_voxel(tmp_path: Path) -> None:
    datasets = classic()
    plain = read_series_volume(written(tmp_path / "plain", datasets))
    mapping = Dataset()
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 100.0, 5.0
    for dataset in datasets:
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.PresentationLUTShape = "INVERSE"
        dataset.RealWorldValueMappingSequence = [mapping]
    assert_equal(read_series_volume(written(tmp_path / "shown", datasets)), plain)
    dataset = enhanced(datasets)
    groups = dataset.SharedFunctionalGroupsSequence[0]
    groups.RealWorldValueMappingSequence = [mapping]
    assert_equal(read_series_volume(written(tmp_path / "enhanced", [dataset])), plain)


def pet() -> list[Dataset]:
    """Make a PET of 350 MBq in 70 kg, scanned one half-life after the injection."""
    datasets = classic()
    injection = Dataset()
    injection.RadiopharmaceuticalStartTime = "080000"
    injection.RadionuclideTotalDose = "350000000"
    injection.RadionuclideHalfLife = "7200"
    for dataset in datasets:
        dataset.SOPClassUID = PositronEmissionTomographyImageStorage
        dataset.file_meta.MediaStorageSOPClassUID = PositronEmissionTomographyImageStorage
        dataset.Modality, dataset.Units, dataset.DecayCorrection = "PT", "BQML", "START"
        dataset.CorrectedImage = ["ATTN", "DECY"]
        dataset.RescaleIntercept = "0"
        dataset.PatientWeight = "70"
        dataset.SeriesTime = dataset.AcquisitionTime = "100000"
        dataset.RadiopharmaceuticalInformationSequence = [injection]
    return datasets


def test_pet_becomes_uptake_values_only_where_the_descriptor_asks(tmp_path: Path) -> None:
    paths = written(tmp_path, pet())
    activity = read_series_volume(paths).array
    uptake = read_series_volume(paths, InputRequirements.model_validate({"suv": "bodyweight"}))
    assert activity.max() > 4096  # slopes of the slices apply before the factor
    # 70 000 g / (350 MBq / 2) = 1 g / 2500 Bq
    assert np.allclose(uptake.array, activity / 2500, rtol=1e-6)
    assert uptake.array.dtype == np.float32


def test_pet_without_its_dose_is_refused_only_where_uptake_is_asked_for(tmp_path: Path) -> None:
    datasets = pet()
    for dataset in datasets:
        del dataset.RadiopharmaceuticalInformationSequence
    paths = written(tmp_path, datasets)
    assert read_series_volume(paths).geometry.shape == (5, 9, 8)
    with pytest.raises(InputRefused) as caught:
        read_series_volume(paths, InputRequirements.model_validate({"suv": "bodyweight"}))
    assert caught.value.reason == InputReason.SUV_INCOMPLETE


def tilted_ball() -> tuple[list[Dataset], np.ndarray]:
    """A ball of bone in air, 40 mm across, on slices tilted by 20 degrees and stacked along z."""
    shape, angle = (15, 48, 40), np.radians(20)
    affine = np.eye(4)
    affine[:3, 0] = (0.0, 0.0, 4.0)
    affine[:3, 1] = (0.0, 1.4 * np.cos(angle), 1.4 * np.sin(angle))
    affine[:3, 2] = (1.3, 0.0, 0.0)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    points_mm = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    inside_mm = 20 - np.linalg.norm(points_mm, axis=-1)
    return slices(np.clip(1000 * inside_mm, -1000, 1000), affine, "tilted"), inside_mm > 0


def test_a_tilted_gantry_is_refused_by_default(tmp_path: Path) -> None:
    with pytest.raises(GeometryRefused) as caught:
        read_series_volume(written(tmp_path, tilted_ball()[0]))
    assert caught.value.reason == GeometryReason.GANTRY_TILT
    assert "20.0 degrees" in str(caught.value)


def test_labels_on_a_tilted_series_return_to_its_own_slices(tmp_path: Path) -> None:
    datasets, ball = tilted_ball()
    wanted = InputRequirements.model_validate({"gantry_tilt": "shear"})
    volume = read_series_volume(written(tmp_path, datasets), wanted)
    assert volume.array.shape == volume.geometry.shape == (15, 62, 40)
    assert volume.source_geometry.shape == (15, 48, 40)
    assert volume.source_geometry.tilt_degrees == pytest.approx(20, abs=1e-3)
    assert list(volume.timings_ms) == ["read", "decode", "shear"]
    assert np.array_equal(volume.slice_on_sources(3), volume.on_sources(volume.array)[3])
    found = volume.on_sources((volume.array > 0).astype(np.uint8)) == 1
    assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > 0.97
    assert np.abs(np.argwhere(found).mean(0) - np.argwhere(ball).mean(0)).max() < 0.5


def test_labels_on_an_upright_series_stay_as_they_are(tmp_path: Path) -> None:
    wanted = InputRequirements.model_validate({"gantry_tilt": "shear"})
    volume = read_series_volume(written(tmp_path), wanted)
    assert volume.shear is None
    assert volume.source_geometry is volume.geometry
    assert volume.on_sources(volume.array) is volume.array


@pytest.mark.corpus
def test_a_real_ct_is_read_in_hounsfield_units(corpus: Corpus) -> None:
    volume = read_series_volume(corpus.folder("ct-siemens-j2k-totalseg/example_ct_dicom"))
    assert volume.geometry.shape == (20, 512, 512)
    assert volume.array.min() == -1024
    assert 20 < np.median(volume.array[:, 230:260, 230:260]) < 200  # inside the trunk


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
def test_a_real_ct_with_a_tilted_gantry_is_set_upright_and_back(corpus: Corpus) -> None:
    paths = corpus.folder("dicom2nifti/failing/gantrytilting/001")
    wanted = InputRequirements.model_validate({"gantry_tilt": "shear"})
    volume = read_series_volume(paths, wanted)
    assert volume.source_geometry.tilt_degrees == pytest.approx(14.0, abs=0.05)
    assert volume.source_geometry.shape == (4, 512, 512)
    back = volume.on_sources(volume.array)
    stored = [dcmread(path) for path in paths]
    by_uid = {d.SOPInstanceUID: d.pixel_array + float(d.RescaleIntercept) for d in stored}
    # Half a pixel of linear interpolation changes noise, and not where anatomy lies.
    for values, source in zip(back, volume.sources, strict=True):
        assert np.corrcoef(values.ravel(), by_uid[source.SOPInstanceUID].ravel())[0, 1] > 0.9


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
@pytest.mark.parametrize("size", ["23x38x3", "24x38x3"])
def test_a_real_converted_enhanced_ct_is_the_volume_of_its_classic_series(
    corpus: Corpus, size: str
) -> None:
    folder = f"dcmqi-ct-seg-sr/segmentations/{size}"
    unspecified = InputRequirements(rescale_types=("US",))
    one = read_series_volume(corpus.folder(f"{folder}/multiframe"), unspecified)
    other = read_series_volume(corpus.folder(f"{folder}/image"), unspecified)
    assert_equal(one, other)
    assert one.frame_numbers == (3, 2, 1) or one.frame_numbers == (1, 2, 3)


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning")  # values that the scanners wrote
def test_a_real_enhanced_mr_is_read(corpus: Corpus) -> None:
    volume = read_series_volume(corpus.folder("dicom2nifti/siemens_multiframe/anatomical/001"))
    assert volume.geometry.shape == (8, 256, 256)
    assert volume.geometry.slice_spacing_mm == pytest.approx(0.9, abs=1e-3)
    assert sorted(n for n in volume.frame_numbers if n) == list(range(1, 9))
