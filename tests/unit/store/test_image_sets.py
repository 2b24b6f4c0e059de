"""Image sets: where in the cloud each instance of a series was found."""

from gateway.store import NodeStore
from gateway.store.image_sets import ImageSet, Placement

PRIMARY, OTHER = "a" * 32, "b" * 32


def placed(
    number: int, image_set_id: str = PRIMARY, *, version: int = 1, key: str = "k"
) -> Placement:
    return Placement(
        sop_instance_uid=f"2.25.2.{number}",
        object_key=f"{key}{number}",
        image_set_id=image_set_id,
        version=version,
        is_primary=image_set_id == PRIMARY,
    )


def test_a_series_has_the_image_sets_that_hold_its_instances(store: NodeStore) -> None:
    placements = [placed(1), placed(2), placed(3, OTHER)]
    store.image_sets.note("cloud", "2.25.2", placements)
    store.image_sets.note("archive", "2.25.2", [placed(1)])

    assert store.image_sets.of_series("2.25.2") == (
        ImageSet(node="archive", image_set_id=PRIMARY, version=1, is_primary=True, instances=1),
        ImageSet(node="cloud", image_set_id=PRIMARY, version=1, is_primary=True, instances=2),
        ImageSet(node="cloud", image_set_id=OTHER, version=1, is_primary=False, instances=1),
    )
    assert store.image_sets.of_series("2.25.9") == ()


def test_an_instance_that_is_sent_again_is_where_it_is_now(store: NodeStore) -> None:
    store.image_sets.note("cloud", "2.25.2", [placed(1), placed(2, OTHER)])

    store.image_sets.note("cloud", "2.25.2", [placed(2, version=2, key="new")])

    [one] = store.image_sets.of_series("2.25.2")
    assert (one.image_set_id, one.version, one.instances) == (PRIMARY, 2, 2)
    uids = [f"2.25.2.{number}" for number in range(2000)]
    assert store.image_sets.contents("cloud", uids) == {"2.25.2.1": "k1", "2.25.2.2": "new2"}
    assert store.image_sets.contents("archive", uids) == {}


def test_a_deleted_image_set_is_forgotten(store: NodeStore) -> None:
    store.image_sets.note("cloud", "2.25.2", [placed(1), placed(2, OTHER)])

    store.image_sets.deleted("cloud", PRIMARY)

    assert [one.image_set_id for one in store.image_sets.of_series("2.25.2")] == [OTHER]
    assert store.image_sets.contents("cloud", ["2.25.2.1"]) == {}
