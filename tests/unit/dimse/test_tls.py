"""DICOM over TLS, in both directions: who gets through, who does not, and what is told."""

import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation
from structlog.testing import capture_logs

from gateway.dimse.tls import client_context, server_context
from gateway.dimse.user import SendOutcome, echo, send
from gateway.errors import ConfigurationInvalid, PeerUnavailable
from gateway.settings import DimseNode, PeerTls, TlsSettings
from tests.peers.certificates import Authority, Identity
from tests.peers.dcmtk import StoreScp, echoscu, storescu
from tests.peers.processes import accepts_connections, free_port, wait_until
from tests.peers.raw import as_file
from tests.peers.wire import ECHO_CONTEXT, Wire
from tests.unit.dimse.receiving import STORAGE, StartReceiver, item
from tests.unit.dimse.test_user import outgoing
from tests.unit.store.samples import SERIES


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Identity:
    return authority.issue("node")


@pytest.fixture(scope="module")
def modality(authority: Authority) -> Identity:
    return authority.issue("modality")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate of an authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("elsewhere"), "elsewhere").issue("stranger")


@pytest.fixture
def secured(own: Identity, authority: Authority) -> TlsSettings:
    return TlsSettings(
        port=free_port(),
        certificate=own.certificate,
        key=own.key,
        authorities=authority.certificate,
    )


def shown(identity: Identity, authority: Authority) -> list[str]:
    """Return dcmtk's words for a certificate of its own."""
    own = ["+tls", str(identity.key), str(identity.certificate)]
    return [*own, "+cf", str(authority.certificate)]


def anonymous(authority: Authority) -> list[str]:
    return ["+tla", "+cf", str(authority.certificate)]


def secure_wire(port: int, authority: Authority, own: Identity) -> Wire:
    settings = PeerTls(authorities=authority.certificate, certificate=own.certificate, key=own.key)
    context = client_context(settings)
    wire = Wire(port)
    wire.socket = context.wrap_socket(wire.socket, server_hostname="127.0.0.1")
    return wire


@pytest.mark.peers
class TestWhoGetsThrough:
    def test_a_peer_with_a_certificate_of_the_authority_stores(
        self,
        start: StartReceiver,
        secured: TlsSettings,
        authority: Authority,
        modality: Identity,
    ) -> None:
        receiver = start(tls=secured)
        options = shown(modality, authority)
        assert echoscu(secured.port, options=options).status == 0
        with as_file(item()) as path:
            said = storescu(secured.port, path, options=[*options, "-xe"])
        assert said.status == 0, said.text
        assert "Success" in said.text
        assert receiver.kept() == [item().data_set]

    def test_a_peer_without_a_certificate_is_refused_where_one_is_required(
        self, start: StartReceiver, secured: TlsSettings, authority: Authority
    ) -> None:
        start(tls=secured)
        assert echoscu(secured.port, options=anonymous(authority)).status != 0

    def test_and_let_in_where_none_is(
        self, start: StartReceiver, secured: TlsSettings, authority: Authority
    ) -> None:
        start(tls=secured.model_copy(update={"require_peer_certificate": False}))
        said = echoscu(secured.port, options=anonymous(authority))
        assert said.status == 0, said.text

    def test_a_certificate_of_another_authority_is_refused(
        self,
        start: StartReceiver,
        secured: TlsSettings,
        authority: Authority,
        stranger: Identity,
    ) -> None:
        start(tls=secured)
        assert echoscu(secured.port, options=shown(stranger, authority)).status != 0

    @pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
    def test_every_profile_of_bcp_195_gets_through(
        self,
        start: StartReceiver,
        secured: TlsSettings,
        authority: Authority,
        modality: Identity,
        profile: str,
    ) -> None:
        start(tls=secured)
        said = echoscu(secured.port, options=[*shown(modality, authority), profile])
        assert said.status == 0, said.text


class TestVersions:
    @pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
    def test_what_bcp_195_forbids_is_refused(
        self, start: StartReceiver, secured: TlsSettings, version: str
    ) -> None:
        start(tls=secured)
        assert "alert protocol version" in self.offered(secured.port, version)

    @pytest.mark.parametrize(("version", "name"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
    def test_what_it_asks_for_is_spoken(
        self, start: StartReceiver, secured: TlsSettings, version: str, name: str
    ) -> None:
        start(tls=secured.model_copy(update={"require_peer_certificate": False}))
        assert f"New, {name}, Cipher is" in self.offered(secured.port, version)

    def test_ciphers_without_forward_secrecy_are_refused(
        self, start: StartReceiver, secured: TlsSettings
    ) -> None:
        start(tls=secured)
        weak = ("-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA")
        assert "handshake failure" in self.offered(secured.port, *weak)

    @staticmethod
    def offered(port: int, *options: str) -> str:
        address = ["-connect", f"127.0.0.1:{port}"]
        weakest = [] if "-cipher" in options else ["-cipher", "ALL:@SECLEVEL=0"]
        done = subprocess.run(
            ["openssl", "s_client", *address, *options, *weakest],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout + done.stderr


class TestPorts:
    def test_the_plain_port_stays_open_beside(
        self, start: StartReceiver, secured: TlsSettings
    ) -> None:
        receiver = start(tls=secured)
        with Wire(receiver.port) as wire:
            wire.associate([ECHO_CONTEXT])
            assert wire.echo() == 0x0000
            wire.release()

    def test_unless_only_the_secure_one_is_wanted(
        self, start: StartReceiver, secured: TlsSettings
    ) -> None:
        receiver = start(tls=secured.model_copy(update={"only": True}))
        assert not accepts_connections(receiver.port)
        assert accepts_connections(secured.port)

    @pytest.mark.parametrize("content", [b"GET / HTTP/1.1\r\n\r\n", bytes(3000), b"\x16\x03\x01"])
    def test_who_speaks_no_tls_on_the_secure_port_harms_nobody(
        self,
        start: StartReceiver,
        secured: TlsSettings,
        authority: Authority,
        modality: Identity,
        content: bytes,
    ) -> None:
        receiver = start(tls=secured)
        with capture_logs() as lines, secure_wire(secured.port, authority, modality) as bystander:
            bystander.associate([ECHO_CONTEXT])
            for _ in range(3):
                with Wire(secured.port) as wire:
                    wire.send(content)
                    with suppress(OSError):  # the node may have closed by now
                        wire.socket.shutdown(socket.SHUT_WR)
                    wire.rest()
            assert bystander.echo() == 0x0000
            bystander.release()
            counted = {"protocol_violations": 3}
            wait_until(lambda: receiver.store.counters.all() == counted, "counted", 10, 0.02)
        (line,) = (one for one in lines if one["event"] == "connection_aborted")
        assert "TLS" in line["reason"]

    def test_who_says_nothing_on_it_holds_up_nobody(
        self,
        start: StartReceiver,
        secured: TlsSettings,
        authority: Authority,
        modality: Identity,
    ) -> None:
        start(tls=secured)
        began = time.monotonic()
        with Wire(secured.port), secure_wire(secured.port, authority, modality) as wire:
            wire.associate([ECHO_CONTEXT])
            assert wire.echo() == 0x0000
            wire.release()
        assert time.monotonic() - began < 5


class TestAssociations:
    def test_one_operation_at_a_time_is_agreed_on(
        self,
        start: StartReceiver,
        secured: TlsSettings,
        authority: Authority,
        modality: Identity,
    ) -> None:
        receiver = start(tls=secured)
        several = AsynchronousOperationsWindowNegotiation()
        several.maximum_number_operations_invoked = 8
        with secure_wire(secured.port, authority, modality) as wire:
            accepted = wire.associate([STORAGE], items=[several])
            assert accepted.user_information is not None
            assert accepted.user_information.async_ops_window is None
            assert [wire.store(item(number)).status for number in (1, 2, 3)] == [0, 0, 0]
            wire.release()
        assert receiver.store.series.get(SERIES).instances == 3

    def test_an_open_one_is_ended_when_the_receiver_stops(
        self,
        start: StartReceiver,
        secured: TlsSettings,
        authority: Authority,
        modality: Identity,
    ) -> None:
        receiver = start(tls=secured)
        with secure_wire(secured.port, authority, modality) as wire:
            wire.associate([STORAGE])
            assert wire.store(item()).status == 0x0000
            began = time.monotonic()
            receiver.stop(0)
            assert time.monotonic() - began < 4
            assert wire.rest() == b""


@pytest.mark.parametrize("checks_host", [True, False])
@pytest.mark.peers
class TestCallingOthers:
    def test_a_secure_peer_is_verified_and_sent_to(
        self, tmp_path: Path, authority: Authority, own: Identity, checks_host: bool
    ) -> None:
        with self.storescp(tmp_path, authority, authority.issue("pacs")) as scp:
            peer = self.node(
                scp.port,
                authorities=authority.certificate,
                certificate=own.certificate,
                key=own.key,
                check_host=checks_host,
            )
            echo(peer, "GATEWAY")
            (result,) = send(peer, "GATEWAY", [outgoing(tmp_path, 1)])
            assert result.outcome is SendOutcome.STORED
            assert len(scp.files()) == 1

    def test_a_peer_of_another_authority_is_not_spoken_to(
        self, tmp_path: Path, authority: Authority, stranger: Identity, checks_host: bool
    ) -> None:
        with self.storescp(tmp_path, authority, stranger) as scp:
            peer = self.node(scp.port, authorities=authority.certificate, check_host=checks_host)
            with pytest.raises(PeerUnavailable):
                echo(peer, "GATEWAY")

    def test_a_peer_that_stands_for_another_host_only_where_that_is_not_checked(
        self, tmp_path: Path, authority: Authority, own: Identity, checks_host: bool
    ) -> None:
        other = authority.issue("other", stands_for="DNS:archive.hospital.example")
        with self.storescp(tmp_path, authority, other) as scp:
            peer = self.node(
                scp.port,
                authorities=authority.certificate,
                certificate=own.certificate,
                key=own.key,
                check_host=checks_host,
            )
            if checks_host:
                with pytest.raises(PeerUnavailable):
                    echo(peer, "GATEWAY")
            else:
                echo(peer, "GATEWAY")

    @staticmethod
    def storescp(folder: Path, authority: Authority, identity: Identity) -> StoreScp:
        return StoreScp(folder / "scp", "+xa", "-pm", *shown(identity, authority))

    @staticmethod
    def node(port: int, **tls: Any) -> DimseNode:
        return DimseNode(
            kind="dimse",
            ae_title=StoreScp.ae_title,
            host="127.0.0.1",
            port=port,
            tls=PeerTls(**tls),
        )


class TestFiles:
    @pytest.mark.parametrize("field", ["certificate", "key", "authorities"])
    @pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["no", "empty", "text"])
    def test_one_that_is_none_is_named(
        self, tmp_path: Path, secured: TlsSettings, field: str, content: bytes | None
    ) -> None:
        wrong = tmp_path / "wrong.pem"
        if content is not None:
            wrong.write_bytes(content)
        with pytest.raises(ConfigurationInvalid) as refused:
            server_context(secured.model_copy(update={field: wrong}))
        assert str(wrong) in str(refused.value)

    def test_a_key_of_another_certificate_is_told(
        self, secured: TlsSettings, modality: Identity
    ) -> None:
        with pytest.raises(ConfigurationInvalid, match="key values mismatch") as refused:
            server_context(secured.model_copy(update={"key": modality.key}))
        assert str(modality.key) in str(refused.value)

    def test_a_key_with_a_passphrase_is_told_and_nobody_is_asked_for_it(
        self, tmp_path: Path, own: Identity, secured: TlsSettings
    ) -> None:
        locked = tmp_path / "locked.key"
        words = ("pkey", "-in", str(own.key), "-aes256", "-passout", "pass:secret")
        subprocess.run(["openssl", *words, "-out", str(locked)], check=True, timeout=30)
        with pytest.raises(ConfigurationInvalid) as refused:
            server_context(secured.model_copy(update={"key": locked}))
        assert str(locked) in str(refused.value)

    def test_certificates_that_nobody_could_check_are_not_required(
        self, secured: TlsSettings
    ) -> None:
        with pytest.raises(ConfigurationInvalid, match=r"needs dimse\.tls\.authorities"):
            server_context(secured.model_copy(update={"authorities": None}))

    @pytest.mark.parametrize("fields", [["authorities"], ["certificate", "key"]])
    def test_those_for_calling_others_are_named_too(
        self, tmp_path: Path, own: Identity, authority: Authority, fields: Sequence[str]
    ) -> None:
        missing = dict.fromkeys(fields, tmp_path / "missing.pem")
        settings = PeerTls(authorities=authority.certificate).model_copy(update=missing)
        with pytest.raises(ConfigurationInvalid) as refused:
            client_context(settings)
        assert str(tmp_path / "missing.pem") in str(refused.value)

    def test_a_peers_certificate_is_always_looked_at(self, authority: Authority) -> None:
        context = client_context(PeerTls(authorities=authority.certificate, check_host=False))
        assert context.verify_mode is ssl.CERT_REQUIRED
