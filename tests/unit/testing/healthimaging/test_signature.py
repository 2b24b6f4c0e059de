"""Requests signed by AWS's own signer get in; nothing else does."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.exceptions import ClientError
from requests import Response

from gateway.testing.healthimaging import Behaviour, Credentials
from tests.peers.cloud import Cloud, open_cloud

LASTING = Credentials(access_key_id="AKIAEXAMPLE000000001", secret_access_key="one/secret")
SESSION = Credentials(
    access_key_id="ASIAEXAMPLE000000002", secret_access_key="another", session_token="token+/="
)
ENDED = replace(SESSION, access_key_id="ASIAEXAMPLE000000003", expires_at=time.time() - 1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that three may call."""
    known = (LASTING, SESSION, ENDED)
    with open_cloud(tmp_path_factory.mktemp("cloud"), credentials=known) as running:
        yield running


def refused(cloud: Cloud, credentials: Credentials) -> str:
    with pytest.raises(ClientError) as caught:
        cloud.client(credentials).list_datastores()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return str(caught.value.response["Error"]["Code"])


def signed(
    cloud: Cloud,
    path: str = "/datastore",
    *,
    service: str = "medical-imaging",
    region: str = "us-east-1",
    body: bytes = b"",
    sent: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send a request signed by botocore, with a body that may be another one than was signed."""
    method = "POST" if body or sent else "GET"
    request = AWSRequest(method, cloud.endpoint_url + path, headers=headers or {}, data=body)
    keys = BotocoreCredentials(LASTING.access_key_id, LASTING.secret_access_key)
    SigV4Auth(keys, service, region).add_auth(request)
    content = body if sent is None else sent
    return requests.request(
        method, request.url, headers=dict(request.headers), data=content, timeout=10
    )


@pytest.mark.parametrize("credentials", [LASTING, SESSION])
def test_lasting_and_temporary_credentials_get_in(cloud: Cloud, credentials: Credentials) -> None:
    (found,) = cloud.client(credentials).list_datastores()["datastoreSummaries"]
    assert found["datastoreId"] == cloud.data_store_id


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        (replace(LASTING, secret_access_key="wrong"), "InvalidSignatureException"),
        (replace(LASTING, access_key_id="AKIAUNKNOWN"), "UnrecognizedClientException"),
        (replace(SESSION, session_token="stale"), "UnrecognizedClientException"),
        (ENDED, "ExpiredTokenException"),
    ],
)
def test_wrong_credentials_get_403(cloud: Cloud, credentials: Credentials, code: str) -> None:
    assert refused(cloud, credentials) == code


@pytest.mark.parametrize(
    ("service", "region"),
    [
        ("dicom-medical-imaging", "us-east-1"),
        ("s3", "us-east-1"),
        ("medical-imaging", "eu-west-1"),
    ],
)
def test_the_scope_of_another_service_or_region_gets_403(
    cloud: Cloud, service: str, region: str
) -> None:
    answer = signed(cloud, service=service, region=region)
    assert answer.status_code == 403
    assert answer.headers["x-amzn-ErrorType"] == "InvalidSignatureException"
    assert "Credential should be scoped" in answer.json()["message"]


def test_a_request_without_signature_gets_403(cloud: Cloud) -> None:
    answer = requests.get(f"{cloud.endpoint_url}/datastore", timeout=10)
    assert answer.status_code == 403
    assert answer.headers["x-amzn-ErrorType"] == "AccessDeniedException"


@pytest.mark.parametrize(("minutes", "status"), [(-14, 200), (-16, 403), (14, 200), (16, 403)])
def test_a_signature_lasts_a_quarter_of_an_hour(
    cloud: Cloud, minutes: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + 60 * minutes))

    def stamped(request: AWSRequest) -> None:
        request.context["timestamp"] = moment
        del request.headers["X-Amz-Date"]
        request.headers["X-Amz-Date"] = moment

    monkeypatch.setattr(SigV4Auth, "_modify_request_before_signing", lambda _, r: stamped(r))
    answer = signed(cloud)
    assert answer.status_code == status


def test_a_body_is_covered_with_and_without_its_digest_in_the_header(cloud: Cloud) -> None:
    path = f"/datastore/{cloud.data_store_id}/searchImageSets?maxResults=5"
    body, other = b'{"filters": null}', b'{"filters":  null}'
    digest = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
    for headers in ({}, digest):
        assert signed(cloud, path, body=body, headers=headers).status_code == 200
        assert signed(cloud, path, body=body, sent=other, headers=headers).status_code == 403


def test_a_query_is_covered_whatever_its_order(cloud: Cloud) -> None:
    path = "/datastore?maxResults=5&datastoreStatus=ACTIVE"
    assert signed(cloud, path).status_code == 200


def test_nobody_needs_to_sign_where_signatures_are_not_checked(folder: Path) -> None:
    with open_cloud(folder, behaviour=Behaviour(checks_signatures=False)) as cloud:
        answer = requests.get(f"{cloud.endpoint_url}/datastore", timeout=10)
    assert answer.status_code == 200
