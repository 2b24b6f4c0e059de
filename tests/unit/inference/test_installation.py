"""Bundles brought into the models folder: whole, within it, or not at all."""

import http.server
import json
import stat
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.errors import NotFound, Permanent
from gateway.inference import bundle_digest
from gateway.inference.installation import InstallationRefused, install
from tests.unit.inference.zoo import FORMS, zoo_bundle


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle as it came from somewhere."""
    return zoo_bundle(tmp_path / "from", "small", FORMS["usual"]).bundle.root


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Path]:
    """The models folder, in which nothing but what was installed may be left."""
    folder = tmp_path / "models"
    yield folder
    assert not list(folder.glob(".installing-*"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a web server for the folder ``tmp_path``."""
    handler = partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def zipped(folder: Path, target: Path, *, under: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{under}{path.relative_to(folder).as_posix()}")
    return target


def zip_with(target: Path, name: str, kind: int = stat.S_IFREG) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = (kind | 0o644) << 16
        archive.writestr(member, "/etc/passwd")
    return target


def test_a_folder_is_copied_and_its_digest_recorded(bundle: Path, models: Path) -> None:
    done = install(str(bundle), models)
    assert (done.name, done.version) == ("small", "0.1.0")
    assert done.bundle_digest == bundle_digest(models / "small") == bundle_digest(bundle)
    record = json.loads((models / "small.origin.json").read_text())
    assert (record["source"], record["bundle_digest"]) == (str(bundle), done.bundle_digest)


@pytest.mark.parametrize("under", ["", "small_bundle/"])
def test_an_archive_is_unpacked_with_or_without_a_folder_in_it(
    tmp_path: Path, bundle: Path, models: Path, under: str
) -> None:
    archive = zipped(bundle, tmp_path / "small_bundle_v0.1.0.zip", under=under)
    done = install(str(archive), models)
    assert done.name == "small_bundle"
    assert done.bundle_digest == bundle_digest(bundle)
    assert done.archive_sha256 == sha256(archive.read_bytes()).hexdigest()


def test_an_archive_is_downloaded_and_must_have_the_digest_that_was_given(
    tmp_path: Path, bundle: Path, models: Path, served: str
) -> None:
    archive = zipped(bundle, tmp_path / "small.zip")
    digest = sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(InstallationRefused, match="and not the one given"):
        install(f"{served}/small.zip", models, sha256="0" * 64)
    assert list(models.iterdir()) == []
    assert install(f"{served}/small.zip", models, sha256=digest, name="other").name == "other"
    assert (models / "other" / "configs" / "metadata.json").is_file()


def test_an_address_without_https_needs_a_digest(models: Path, served: str) -> None:
    with pytest.raises(InstallationRefused, match="not https"):
        install(f"{served}/small.zip", models)


def test_an_address_with_nothing_behind_it_is_told(models: Path, served: str) -> None:
    with pytest.raises(Permanent, match=r"answered 404|could not be downloaded"):
        install(f"{served}/absent.zip", models, sha256="0" * 64)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside", stat.S_IFREG),
        ("/outside", stat.S_IFREG),
        ("a/../../outside", stat.S_IFREG),
        ("..\\outside", stat.S_IFREG),
        ("link", stat.S_IFLNK),
        ("pipe", stat.S_IFIFO),
    ],
)
def test_a_member_that_leads_out_of_the_archive_is_refused(
    tmp_path: Path, models: Path, name: str, kind: int
) -> None:
    archive = zip_with(tmp_path / "evil.zip", name, kind)
    with pytest.raises(InstallationRefused, match="leads out of it"):
        install(str(archive), models)
    assert not (tmp_path / "outside").exists()


def test_a_link_out_of_a_folder_is_refused_and_one_within_it_followed(
    tmp_path: Path, bundle: Path, models: Path
) -> None:
    (bundle / "models" / "latest.pt").symlink_to("model.pt")
    install(str(bundle), models)
    copied = models / "small" / "models" / "latest.pt"
    assert copied.is_file()
    assert not copied.is_symlink()
    (tmp_path / "secret").touch()
    (bundle / "models" / "other.pt").symlink_to(tmp_path / "secret")
    with pytest.raises(InstallationRefused, match="outside of the bundle"):
        install(str(bundle), models, name="again")


def test_a_model_that_is_there_is_not_replaced(bundle: Path, models: Path) -> None:
    install(str(bundle), models)
    with pytest.raises(Permanent, match="is there already"):
        install(str(bundle), models)


@pytest.mark.parametrize("name", ["../other", ".hidden", "a/b", ""])
def test_a_name_that_is_no_folder_name_is_refused(bundle: Path, models: Path, name: str) -> None:
    with pytest.raises(InstallationRefused, match="cannot be called"):
        install(str(bundle), models, name=name or "-")


def test_what_is_no_bundle_is_refused(tmp_path: Path, bundle: Path, models: Path) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InstallationRefused, match="no readable zip file"):
        install(str(tmp_path / "text.zip"), models)
    with pytest.raises(NotFound):
        install(str(tmp_path / "absent"), models)
    (bundle / "configs" / "inference.json").unlink()
    with pytest.raises(InstallationRefused, match="no usable bundle"):
        install(str(bundle), models)
    (bundle / "configs" / "metadata.json").unlink()
    with pytest.raises(InstallationRefused, match="no MONAI bundle"):
        install(str(bundle), models)


@pytest.mark.parametrize("source", ["monai:", "monai:../x", "monai:@1.0"])
def test_a_name_that_the_hub_cannot_have_is_refused(models: Path, source: str) -> None:
    with pytest.raises(InstallationRefused, match="names no bundle"):
        install(source, models)
