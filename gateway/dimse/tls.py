"""TLS for DICOM, in both directions (PS3.15 section B.12, BCP 195: RFC 8996 and RFC 9325)."""

import ssl
from pathlib import Path

from gateway.errors import ConfigurationInvalid, Problem
from gateway.settings import PeerTls, TlsSettings

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
"""Forward secrecy and authenticated encryption, for TLS 1.2; TLS 1.3 has no others."""


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return what the secure DICOM port speaks: TLS 1.2 and 1.3, with peers' certificates.

    Raises:
        ConfigurationInvalid: a file is missing, or not what it should be.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load_own(context, settings.certificate, settings.key)
    if settings.authorities is not None:
        _load_authorities(context, settings.authorities)
    if settings.require_peer_certificate:
        if settings.authorities is None:
            message = "dimse.tls.require_peer_certificate needs dimse.tls.authorities"
            raise ConfigurationInvalid([Problem(settings.certificate, 0, 0, message)])
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(settings: PeerTls) -> ssl.SSLContext:
    """Return what the node speaks when it calls a peer.

    Raises:
        ConfigurationInvalid: a file is missing, or not what it should be.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.check_host
    _load_authorities(context, settings.authorities)
    if settings.certificate is not None:
        _load_own(context, settings.certificate, settings.key)
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        # Without a password OpenSSL would ask for one on the terminal, and wait.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        named = "its key" if key is None else f"the key {key}"
        message = f"no certificate with {named} can be read: {_reason(error)}"
        raise ConfigurationInvalid([Problem(certificate, 0, 0, message)]) from error


def _load_authorities(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (OSError, ssl.SSLError) as error:
        message = f"no certificates of authorities can be read: {_reason(error)}"
        raise ConfigurationInvalid([Problem(authorities, 0, 0, message)]) from error


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
