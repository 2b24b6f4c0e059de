"""What arrives compressed and may be segmented is decoded while the rest is on its way."""

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from gateway.dicom.part10 import seek_data_set
from gateway.inference import Decoders
from gateway.inference.volume import read_volume
from gateway.inference.volume_plan import plan_volumes
from gateway.rules import load_rules
from gateway.store import JobState, NodeStore, Offer
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, scan
from gateway.workflow.early_decoding import EarlyDecoding, is_compressed
from gateway.workflow.routing import Router
from tests.unit.store.completing import complete
from tests.unit.store.samples import origin

SLICES = 12
PLANE_BYTES = 32 * 32 * 4


@pytest.fixture(scope="module")
def warm() -> Iterator[Decoders]:
    with Decoders(1) as running:
        yield running


@pytest.fixture
def decoders(warm: Decoders) -> Iterator[Decoders]:
    yield warm
    warm.early.forget(list(warm.early._images))


@pytest.fixture
def images() -> list[Dataset]:
    acquisition = Acquisition(
        rows=32, columns=32, slices=SLICES, row_spacing_mm=6, column_spacing_mm=6
    )
    return list(scan(Anatomy.asymmetric_object(), acquisition))


def compressed(image: Dataset) -> Dataset:
    image.compress(RLELossless, generate_instance_uid=False)
    return image


def keep(store: NodeStore, images: Sequence[Dataset]) -> None:
    """Keep images as a receiver does."""
    for image in images:
        file = BytesIO()
        image.save_as(file, enforce_file_format=True)
        file.seek(0)
        seek_data_set(file)
        offer = Offer(
            data_set=file.read(),
            transfer_syntax_uid=str(image.file_meta.TransferSyntaxUID),
            sop_class_uid=str(image.SOPClassUID),
            sop_instance_uid=str(image.SOPInstanceUID),
        )
        store.intake.keep(offer, origin())


@pytest.fixture
def router(store: NodeStore, tmp_path: Path) -> Router:
    return routing(store, tmp_path / "rules", {"Modality": "CT"})


def routing(store: NodeStore, folder: Path, when: Mapping[str, object]) -> Router:
    """Return a router with one rule that segments."""
    folder.mkdir()
    rule = {"rule": "r", "when": when, "then": [{"segment": {"model": "m", "send_to": ["pacs"]}}]}
    (folder / "10.yaml").write_text(json.dumps(rule))
    rules = load_rules(folder, nodes={"pacs"}, models={"m"})
    return Router(store, lambda: rules)


def early_decoding(
    store: NodeStore, decoders: Decoders, router: Router, modality: str = "CT"
) -> EarlyDecoding:
    modalities = {"m": [modality]}
    return EarlyDecoding(store, decoders, lambda uid: router.may_segment(uid, modalities))


def look_at_all(early: EarlyDecoding) -> None:
    while early.look():
        continue


def held(decoders: Decoders) -> int:
    """Return how many images are decoded early."""
    return decoders.early.held_bytes // PLANE_BYTES


def series_of(images: Sequence[Dataset]) -> str:
    return str(images[0].SeriesInstanceUID)


def paths_of(store: NodeStore, images: Sequence[Dataset]) -> list[Path]:
    found = store.instances.of_series(series_of(images))
    return [store.objects.path(one.object_key) for one in found if one.current]


def test_what_is_here_is_decoded_before_the_series_is_complete(
    store: NodeStore, decoders: Decoders, router: Router, images: list[Dataset]
) -> None:
    early = early_decoding(store, decoders, router)
    keep(store, [compressed(one) for one in images[:5]])
    look_at_all(early)
    assert held(decoders) == 5
    keep(store, [compressed(one) for one in images[5:]])
    look_at_all(early)
    assert held(decoders) == SLICES

    [plan] = plan_volumes(paths_of(store, images))
    assert np.array_equal(read_volume(plan, decoders).array, read_volume(plan).array)


def test_native_pixels_cost_nothing_and_are_left(
    store: NodeStore, decoders: Decoders, router: Router, images: list[Dataset]
) -> None:
    keep(store, images)
    look_at_all(early_decoding(store, decoders, router))
    assert held(decoders) == 0


def test_a_series_that_no_rule_would_have_segmented_is_left(
    store: NodeStore, decoders: Decoders, images: list[Dataset], tmp_path: Path
) -> None:
    router = routing(store, tmp_path / "rules", {"SeriesDescription": "something else"})
    keep(store, [compressed(one) for one in images])
    look_at_all(early_decoding(store, decoders, router))
    assert held(decoders) == 0


def test_a_series_that_the_model_does_not_take_is_left(
    store: NodeStore, decoders: Decoders, router: Router, images: list[Dataset]
) -> None:
    keep(store, [compressed(one) for one in images])
    look_at_all(early_decoding(store, decoders, router, modality="MR"))
    assert held(decoders) == 0


def test_a_rule_that_wants_so_many_instances_is_asked_again_when_more_are_here(
    store: NodeStore, decoders: Decoders, images: list[Dataset], tmp_path: Path
) -> None:
    router = routing(store, tmp_path / "rules", {"instances": {"at_least": 10}})
    early = early_decoding(store, decoders, router)
    keep(store, [compressed(one) for one in images[:5]])
    look_at_all(early)
    assert held(decoders) == 0
    keep(store, [compressed(one) for one in images[5:]])
    look_at_all(early)
    assert held(decoders) == SLICES


def test_the_image_of_a_replaced_instance_is_never_used(
    store: NodeStore, decoders: Decoders, router: Router, images: list[Dataset]
) -> None:
    early = early_decoding(store, decoders, router)
    keep(store, [compressed(one) for one in images])
    look_at_all(early)
    images[4].RescaleIntercept = -2000
    keep(store, images[4:5])

    [plan] = plan_volumes(paths_of(store, images))
    array = read_volume(plan, decoders).array
    assert np.array_equal(array, read_volume(plan).array)
    assert any(plane.min() < -1500 for plane in array)


def test_a_broken_image_keeps_none_of_other_sizes_or_series_from_being_decoded(
    store: NodeStore, decoders: Decoders, router: Router, images: list[Dataset]
) -> None:
    broken = compressed(images[0])
    broken.PixelData = encapsulate([b"no frame"])
    early = early_decoding(store, decoders, router)
    keep(store, [broken])
    look_at_all(early)
    assert held(decoders) == 0
    keep(store, [compressed(one) for one in images[1:]])
    look_at_all(early)
    assert held(decoders) == SLICES - 1


def test_an_object_that_is_no_image_is_left(
    store: NodeStore, decoders: Decoders, router: Router, images: list[Dataset]
) -> None:
    for one in images:
        compressed(one)
    del images[0].ImagePositionPatient
    keep(store, images)
    look_at_all(early_decoding(store, decoders, router))
    assert held(decoders) == SLICES - 1


class TestWhenTheSeriesIsComplete:
    @pytest.fixture
    def early(
        self, store: NodeStore, decoders: Decoders, router: Router, images: list[Dataset]
    ) -> EarlyDecoding:
        early = early_decoding(store, decoders, router)
        keep(store, [compressed(one) for one in images])
        look_at_all(early)
        complete(store)
        return early

    def test_images_stay_until_the_rules_were_asked_and_its_jobs_have_ended(
        self,
        store: NodeStore,
        decoders: Decoders,
        router: Router,
        images: list[Dataset],
        early: EarlyDecoding,
    ) -> None:
        early.look()
        assert held(decoders) == SLICES
        [job] = router.route(series_of(images), 1)
        store.jobs.started(job.id)
        early.look()
        assert held(decoders) == SLICES
        store.jobs.ended(job.id, JobState.DONE)
        early.look()
        assert held(decoders) == 0

    def test_they_go_where_it_is_not_segmented(
        self,
        store: NodeStore,
        decoders: Decoders,
        images: list[Dataset],
        early: EarlyDecoding,
        tmp_path: Path,
    ) -> None:
        other = routing(store, tmp_path / "other", {"Modality": "MR"})
        assert other.route(series_of(images), 1) == ()
        early.look()
        assert held(decoders) == 0

    def test_a_late_instance_has_all_decoded_early_once_more(
        self,
        store: NodeStore,
        decoders: Decoders,
        router: Router,
        images: list[Dataset],
        early: EarlyDecoding,
    ) -> None:
        [job] = router.route(series_of(images), 1)
        store.jobs.ended(job.id, JobState.DONE)
        early.look()
        late = dcmread(paths_of(store, images)[0])
        late.SOPInstanceUID += ".9"
        late.file_meta.MediaStorageSOPInstanceUID = late.SOPInstanceUID
        keep(store, [late])
        look_at_all(early)
        assert held(decoders) == SLICES + 1


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        ("1.2.840.10008.1.2.4.90", True),
        ("1.2.840.10008.1.2.5", True),
        ("1.2.840.10008.1.2.1", False),
        ("1.2.840.10008.1.2.1.99", False),
        ("1.2.840.113619.5.2", False),
    ],
)
def test_which_transfer_syntaxes_are_decoded_early(uid: str, expected: bool) -> None:
    assert is_compressed(uid) is expected
