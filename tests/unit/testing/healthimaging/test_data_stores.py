"""Data stores and their tags, through boto3."""

import pytest
from botocore.exceptions import ClientError

from tests.peers.cloud import Cloud


def test_a_data_store_is_made_described_and_deleted(cloud: Cloud) -> None:
    client = cloud.client()
    made = client.create_datastore(
        datastoreName="second", losslessStorageFormat="JPEG_2000_LOSSLESS", tags={"a": "b"}
    )
    properties = client.get_datastore(datastoreId=made["datastoreId"])["datastoreProperties"]
    assert (properties["datastoreName"], properties["datastoreStatus"]) == ("second", "ACTIVE")
    assert properties["losslessStorageFormat"] == "JPEG_2000_LOSSLESS"
    arn = properties["datastoreArn"]
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b"}
    client.tag_resource(resourceArn=arn, tags={"c": "d", "e": "f"})
    client.untag_resource(resourceArn=arn, tagKeys=["a", "e"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"c": "d"}
    client.delete_datastore(datastoreId=made["datastoreId"])
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.search_image_sets(datastoreId=made["datastoreId"])
    listed = client.list_datastores(datastoreStatus="DELETED")["datastoreSummaries"]
    assert made["datastoreId"] in [one["datastoreId"] for one in listed]


def test_the_same_token_makes_one_data_store(cloud: Cloud) -> None:
    first, again = (cloud.client().create_datastore(clientToken="one") for _ in range(2))
    assert first["datastoreId"] == again["datastoreId"]


def test_lists_come_in_pages(cloud: Cloud) -> None:
    client = cloud.client()
    made = {client.create_datastore()["datastoreId"] for _ in range(3)}
    pages = client.get_paginator("list_datastores").paginate(PaginationConfig={"PageSize": 2})
    sizes = [len(page["datastoreSummaries"]) for page in pages]
    assert sum(sizes) > len(made)
    assert max(sizes) == 2
    with pytest.raises(ClientError, match="ValidationException"):
        client.list_datastores(nextToken="nobody's")


def test_what_is_not_there_cannot_be_tagged(cloud: Cloud) -> None:
    arn = f"arn:aws:medical-imaging:us-east-1:111122223333:datastore/{'0' * 32}"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        cloud.client().list_tags_for_resource(resourceArn=arn)
