"""Instances staged in S3, which moto stands in for."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.errors import AccessRefused, NotFound
from gateway.healthimaging.buckets import Buckets
from gateway.healthimaging.data_store import DataStore
from gateway.healthimaging.outgoing import Outgoing
from gateway.healthimaging.places import S3Place
from gateway.healthimaging.staging import stage, staged_places, staging_place
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.healthimaging.samples import outgoing

INPUT = "s3://staged/staging"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with open_cloud(tmp_path_factory.mktemp("cloud"), with_s3=True) as running:
        yield running


@pytest.fixture
def buckets(cloud: Cloud) -> Buckets:
    store = DataStore(
        name="cloud",
        region="us-east-1",
        datastore_id="0" * 32,
        s3_endpoint_url=cloud.s3_endpoint_url,
    )
    return Buckets(store)


def content(cloud: Cloud, key: str) -> bytes:
    return bytes(cloud.s3().get_object(Bucket="staged", Key=key)["Body"].read())


def test_instances_are_staged_in_their_order_and_cleared(cloud: Cloud, buckets: Buckets) -> None:
    place = staging_place(INPUT, "a1")
    seen: list[Outgoing] = []
    instances = [outgoing(number, f"content {number}".encode()) for number in range(40)]

    stage(buckets, place, instances, seen.append)

    assert seen == instances
    assert content(cloud, "staging/gateway-a1/00007.dcm") == b"content 7"
    assert sum(1 for _ in buckets.list(place)) == 40
    assert buckets.clear(place) == 40
    assert list(buckets.list(place)) == []


def test_what_was_staged_before_a_crash_is_not_read_again(cloud: Cloud, buckets: Buckets) -> None:
    place = staging_place(INPUT, "a2")
    first, second = outgoing(1), outgoing(2)
    stage(buckets, place, [first])

    def unread() -> None:
        raise AssertionError("it was there")

    stage(buckets, place, [replace(first, open=unread), second])  # type: ignore[arg-type]

    assert sum(1 for _ in buckets.list(place)) == 2


def test_a_large_instance_goes_in_pieces(cloud: Cloud, buckets: Buckets) -> None:
    large = outgoing(1, bytes(65 * 2**20))
    place = staging_place(INPUT, "a3")
    stage(buckets, place, [large])
    [found] = buckets.list(place)
    assert found.size_bytes == large.size_bytes
    buckets.clear(place)


def test_places_of_all_gateways_are_found_and_nothing_else(cloud: Cloud, buckets: Buckets) -> None:
    place = S3Place.read("s3://staged/elsewhere")
    for upload_id, number in (("b1", 2), ("b2", 1)):
        folder = place.inside(f"gateway-{upload_id}")
        stage(buckets, folder, [outgoing(n) for n in range(number)])
    stage(buckets, place.inside("results"), [outgoing(1)])

    found = {one.upload_id: one.objects for one in staged_places(buckets, "s3://staged/elsewhere")}

    assert found == {"b1": 2, "b2": 1}


def test_a_bucket_that_is_not_there_is_named_with_its_setting(
    cloud: Cloud, buckets: Buckets
) -> None:
    with pytest.raises(NotFound, match=r"check nodes\.cloud\.input_s3_uri"):
        stage(buckets, staging_place("s3://no-such-bucket", "a"), [outgoing(1)])
    assert buckets.get(S3Place.read("s3://results"), "missing") is None


def test_without_credentials_nothing_is_tried(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(AccessRefused, match="AWS_ACCESS_KEY_ID"):
        list(buckets.list(S3Place.read("s3://staged")))
