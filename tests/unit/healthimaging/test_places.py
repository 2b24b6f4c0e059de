"""Places in S3."""

import pytest

from gateway.healthimaging.places import S3Place


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/", "s3://bucket/"),
        ("s3://bucket/in", "s3://bucket/in/"),
        ("s3://bucket/in/1/", "s3://bucket/in/1/"),
    ],
)
def test_a_place_ends_with_a_slash(uri: str, shown: str) -> None:
    place = S3Place.read(uri)
    assert str(place) == shown
    assert str(place.inside("a", "b")) == f"{shown}a/b/"
    assert place.inside("a").key("1.dcm") == f"{place.prefix}a/1.dcm"


@pytest.mark.parametrize("uri", ["", "bucket/in", "http://bucket/in", "s3://", "s3://B/in"])
def test_anything_else_is_no_place(uri: str) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET/PREFIX"):
        S3Place.read(uri)
