"""Files of a series become one array, or are refused before any pixel is decoded."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from gateway.errors import DataSetUnreadable, GeometryRefused, InputRefused
from gateway.inference import read_series_volume
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, Pixels, acquire, scan, write_series
from tests.peers.corpus import Corpus

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


@pytest.mark.corpus
def test_a_real_ct_is_read_in_hounsfield_units(corpus: Corpus) -> None:
    volume = read_series_volume(corpus.folder("ct-siemens-j2k-totalseg/example_ct_dicom"))
    assert volume.geometry.shape == (20, 512, 512)
    assert volume.array.min() == -1024
    assert 20 < np.median(volume.array[:, 230:260, 230:260]) < 200  # inside the trunk
