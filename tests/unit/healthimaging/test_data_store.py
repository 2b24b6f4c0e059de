"""Where the planes of a data store are."""

import pytest

from gateway.healthimaging.data_store import DataStore, Plane
from gateway.settings import HealthImagingNode

NODE = HealthImagingNode(
    kind="healthimaging", region="eu-west-1", datastore_id="0123456789abcdef0123456789abcdef"
)


@pytest.mark.parametrize(
    ("plane", "address"),
    [
        (Plane.CONTROL, "https://medical-imaging.eu-west-1.amazonaws.com"),
        (Plane.RUNTIME, "https://runtime-medical-imaging.eu-west-1.amazonaws.com"),
        (Plane.DICOMWEB, "https://dicom-medical-imaging.eu-west-1.amazonaws.com"),
        (Plane.S3, "https://s3.eu-west-1.amazonaws.com"),
    ],
)
def test_each_plane_has_its_host_in_the_region(plane: Plane, address: str) -> None:
    assert DataStore.from_node("cloud", NODE).address(plane) == address


def test_a_stand_in_has_all_planes_on_one_address_and_s3_on_its_own() -> None:
    node = NODE.model_copy(
        update={"endpoint_url": "http://[::1]:9000/", "s3_endpoint_url": "http://[::1]:9001"}
    )
    store = DataStore.from_node("cloud", node)
    planes = {store.address(plane) for plane in Plane if plane is not Plane.S3}
    assert planes == {"http://[::1]:9000"}
    assert store.address(Plane.S3) == "http://[::1]:9001"


def test_words_of_a_path_are_escaped_on_their_own() -> None:
    store = DataStore.from_node("cloud", NODE)
    url = store.url(Plane.CONTROL, "tags", "arn:aws:x/y", tagKeys="a b")
    assert url.partition(".com")[2] == "/tags/arn%3Aaws%3Ax%2Fy?tagKeys=a+b"


def test_messages_call_settings_as_whoever_set_them_does() -> None:
    store = DataStore.from_node("cloud", NODE)
    assert store.setting("region") == "nodes.cloud.region"
    notebook = DataStore(name="", region="eu-west-1", datastore_id=NODE.datastore_id)
    assert notebook.setting("region") == "region"
