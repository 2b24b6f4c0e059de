"""Requests signed with AWS Signature Version 4, with the credentials of the environment."""

import asyncio
from collections.abc import Mapping
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import EnvProvider
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
)
from botocore.session import Session

from gateway.errors import AccessRefused, PeerUnavailable
from gateway.healthimaging.data_store import SERVICE, DataStore

# What may pass by itself when temporary credentials are asked for.
_PASSING = (ConnectionError, CredentialRetrievalError, HTTPClientError, MetadataRetrievalError)


class Signer:
    """Signs requests to the planes of one data store.

    Credentials are found as the AWS SDKs find them: environment, profile, container, machine.
    Temporary ones are refreshed before they end.
    """

    def __init__(self, data_store: DataStore) -> None:
        self._data_store = data_store
        self._credentials: Any = None
        self._finding = asyncio.Lock()

    async def signed(
        self, method: str, url: str, headers: Mapping[str, str], payload_sha256: str
    ) -> dict[str, str]:
        """Return the headers with those of the signature, good for 5 minutes (SigV4).

        ``url`` is escaped; ``payload_sha256`` is the hexadecimal digest of the body.

        Raises:
            AccessRefused: there are no credentials, or they are incomplete.
            PeerUnavailable: the service that gives temporary credentials does not answer.
        """
        request = AWSRequest(
            method=method, url=url, headers={**headers, "X-Amz-Content-SHA256": payload_sha256}
        )
        credentials = await self._current()
        SigV4Auth(credentials, SERVICE, self._data_store.region).add_auth(request)
        return dict(request.headers.items())

    def forget(self) -> None:
        """Have the credentials looked for again: the ones in use were not accepted."""
        self._credentials = None

    async def _current(self) -> Any:
        """Return access key, secret key and token as they are now."""
        credentials = self._credentials
        if credentials is not None and not _needs_refresh(credentials):
            return credentials.get_frozen_credentials()
        async with self._finding:
            return await asyncio.to_thread(self._found)

    def _found(self) -> Any:
        """Find or refresh the credentials; both may ask other machines."""
        try:
            if self._credentials is None:
                # The environment comes first in the chain, which takes a while to be built.
                self._credentials = EnvProvider().load() or Session().get_credentials()
            if self._credentials is None:
                raise AccessRefused(self._advice("there are no AWS credentials"))
            return self._credentials.get_frozen_credentials()
        except _PASSING as error:
            raise PeerUnavailable(
                self._advice(f"AWS credentials cannot be refreshed ({type(error).__name__})")
            ) from error
        except (BotoCoreError, ClientError, RuntimeError) as error:
            raise AccessRefused(
                self._advice(f"AWS credentials are not usable ({type(error).__name__})")
            ) from error

    def _advice(self, what: str) -> str:
        return (
            f"{self._data_store}: {what}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and "
            "AWS_SESSION_TOKEN) in the environment, name a profile by AWS_PROFILE, or give this "
            "machine an IAM role"
        )


def _needs_refresh(credentials: Any) -> bool:
    """Tell whether temporary credentials are about to end; lasting ones never do."""
    refresh_needed = getattr(credentials, "refresh_needed", None)
    return bool(refresh_needed and refresh_needed())
