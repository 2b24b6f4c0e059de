"""Identifiers and Amazon Resource Names as the service makes them."""

import re
import secrets

from gateway.testing.healthimaging.errors import ValidationError

_IDENTIFIER = re.compile(r"[0-9a-z]{32}")


def new_identifier() -> str:
    """Return what names a data store, job, image set or frame that was not there before."""
    return secrets.token_hex(16)


def require_identifier(text: object, name: str) -> str:
    """Return an identifier of 32 lower case letters and digits.

    Raises:
        ValidationError: it is none.
    """
    if not isinstance(text, str) or not _IDENTIFIER.fullmatch(text):
        raise ValidationError(f"{name} must match [0-9a-z]{{32}}")
    return text


def data_store_arn(region: str, account_id: str, data_store_id: str) -> str:
    """Return the name of a data store among all of AWS's resources."""
    return f"arn:aws:medical-imaging:{region}:{account_id}:datastore/{data_store_id}"
