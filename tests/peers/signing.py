"""A DICOMweb client's requests, signed by botocore as AWS's own samples sign them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from requests import PreparedRequest, Response, Session
from requests.auth import AuthBase

from tests.peers.cloud import Cloud


@dataclass(frozen=True, kw_only=True, slots=True)
class SigV4(AuthBase):
    """Signs requests of the library ``requests``; the digest of the body goes into the header.

    A digest that is there already stays, right or wrong.
    """

    access_key_id: str
    secret_access_key: str
    region: str

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign a request that is ready to be sent."""
        content = request.body or b""
        assert isinstance(content, bytes | str)
        content = content.encode() if isinstance(content, str) else content
        digest = request.headers.get("x-amz-content-sha256")
        named = {"x-amz-content-sha256": digest or hashlib.sha256(content).hexdigest()}
        if "Host" in request.headers:
            # dicomweb-client names the host without its port.
            named["Host"] = str(request.headers["Host"])
        signed = AWSRequest(request.method, request.url, headers=named, data=content)
        keys = BotocoreCredentials(self.access_key_id, self.secret_access_key)
        SigV4Auth(keys, "medical-imaging", self.region).add_auth(signed)
        request.headers.update(dict(signed.headers))
        return request


def signed_session(cloud: Cloud) -> Session:
    """Return a session whose requests a cloud lets in."""
    session = requests.Session()
    session.auth = SigV4(
        access_key_id=cloud.credentials.access_key_id,
        secret_access_key=cloud.credentials.secret_access_key,
        region=cloud.stand_in.region,
    )
    return session


def dicomweb(
    cloud: Cloud,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Ask the DICOMweb plane of the first data store: POST with a body, else GET."""
    url = f"{cloud.endpoint_url}/datastore/{cloud.data_store_id}{path}"
    with signed_session(cloud) as session:
        method = "GET" if body is None else "POST"
        return session.request(method, url, data=body, headers=headers, timeout=30)
