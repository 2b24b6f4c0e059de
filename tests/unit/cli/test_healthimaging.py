"""``gateway healthimaging``: files in and out of a data store by hand."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.testing.healthimaging import Behaviour, Fault, FaultKind
from gateway.testing.phantom import Anatomy
from gateway.testing.scanner import Acquisition, Study, scan, write_series
from tests.peers.cloud import Cloud, open_cloud
from tests.unit.cli.conftest import Run

SLICES = 4


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with open_cloud(folder, behaviour=Behaviour(import_polls=1), with_s3=True) as cloud:
        yield cloud


@pytest.fixture
def cloud(running: Cloud, node: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud that two nodes of the settings are, by one way each."""
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.faults.clear()
    shared = (
        f'kind = "healthimaging"\nregion = "{running.stand_in.region}"\n'
        f'datastore_id = "{running.data_store_id}"\nendpoint_url = "{running.endpoint_url}"\n'
        f's3_endpoint_url = "{running.s3_endpoint_url}"\n'
    )
    with node.open("a") as settings:
        settings.write(f"\n[nodes.cloud]\n{shared}\n[nodes.bulk]\n{shared}")
        settings.write('upload = "import-job"\ninput_s3_uri = "s3://staged/cli"\n')
        settings.write('output_s3_uri = "s3://results/out"\n')
        settings.write('role_arn = "arn:aws:iam::111122223333:role/import"\n')
    return running


@pytest.fixture
def series(tmp_path: Path, request: pytest.FixtureRequest) -> list[Path]:
    """Write a CT series of this test's own to a folder, beside a file that is no DICOM."""
    seed = int.from_bytes(hashlib.sha256(request.node.name.encode()).digest()[:3])
    acquisition = Acquisition(rows=32, columns=24, slices=SLICES, slice_spacing_mm=20.0, seed=seed)
    images = scan(Anatomy.asymmetric_object(), acquisition, study=Study(seed=seed))
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "notes.txt").write_text("no DICOM")
    return write_series(images, tmp_path / "series")


def uids(paths: list[Path]) -> set[str]:
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths}


def series_uid(paths: list[Path]) -> str:
    return str(dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)


@pytest.mark.parametrize("name", ["cloud", "bulk"])
def test_files_are_sent_found_and_written_back(
    run: Run, cloud: Cloud, series: list[Path], tmp_path: Path, name: str
) -> None:
    said = run("healthimaging", "import", name, str(tmp_path / "series"), "--json")

    assert said.status == 0, said.err
    sent = json.loads(said.out)
    assert {one["sop_instance_uid"] for one in sent} == uids(series)
    assert {one["outcome"] for one in sent} == {"stored"}
    [image_set_id] = {one["image_set_id"] for one in sent}
    found = json.loads(
        run("healthimaging", "list", name, "--series", series_uid(series), "--json").out
    )
    assert [(one["image_set_id"], one["is_primary"]) for one in found] == [(image_set_id, True)]
    assert cloud.s3().list_objects_v2(Bucket="staged", Prefix="cli/").get("KeyCount") == 0
    out = run("healthimaging", "export", name, image_set_id, str(tmp_path / "out"))
    assert out.out.endswith(f"{SLICES} instances\n"), out.err
    written = list((tmp_path / "out").glob("*.dcm"))
    for path in written:
        before = next(one for one in series if uids([one]) == uids([path]))
        assert (dcmread(path).pixel_array == dcmread(before).pixel_array).all()
    assert uids(written) == uids(series)


@pytest.mark.parametrize(
    ("option", "keyword"),
    [
        ("--study", "StudyInstanceUID"),
        ("--series", "SeriesInstanceUID"),
        ("--patient", "PatientID"),
        ("--accession", "AccessionNumber"),
    ],
)
def test_image_sets_are_found_by(
    run: Run, cloud: Cloud, series: list[Path], option: str, keyword: str
) -> None:
    image = dcmread(series[0])
    image.AccessionNumber = f"ACC{image.SeriesInstanceUID[-8:]}"
    image.save_as(series[0])
    run("healthimaging", "import", "cloud", str(series[0]))

    found = json.loads(
        run("healthimaging", "list", "cloud", option, str(image[keyword].value), "--json").out
    )
    none = json.loads(run("healthimaging", "list", "cloud", option, "9.9.9", "--json").out)

    assert str(image.SeriesInstanceUID) in {one["series_instance_uid"] for one in found}
    assert none == []


def test_people_read_how_many_went_where(run: Run, cloud: Cloud, series: list[Path]) -> None:
    paths = map(str, series)
    said = run("healthimaging", "import", "cloud", *paths)
    assert said.out.startswith(f"cloud: {SLICES} of {SLICES} stored\n  {SLICES} in image set ")


def test_an_instance_that_is_not_stored_is_told_with_its_reason(
    run: Run, cloud: Cloud, series: list[Path]
) -> None:
    failing = uids(series[:1]).pop()
    cloud.faults.add(
        Fault(operation="StoreDICOM", kind=FaultKind.NOT_STORED, target=failing, times=None)
    )
    said = run("healthimaging", "import", "cloud", *map(str, series))
    assert said.status == 1
    assert f"{SLICES - 1} of {SLICES} stored" in said.out
    assert "1 failed: 0110H processing failure" in said.out


def test_what_is_wrong_is_one_line(
    run: Run, cloud: Cloud, series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    for words in (
        ("import", "cloud", str(series[0])),
        ("list", "cloud"),
        ("delete", "cloud", "f" * 32, "--yes"),
    ):
        said = run("healthimaging", *words)
        assert said.status == 1
        assert "AWS_SECRET_ACCESS_KEY" in said.err
        assert said.err.count("\n") == 1
    said = run("healthimaging", "list", "pacs")
    assert "node 'pacs' is of kind dimse; this command needs kind healthimaging" in said.err


def test_what_is_deleted_is_gone(run: Run, cloud: Cloud, series: list[Path]) -> None:
    run("healthimaging", "import", "cloud", *map(str, series))
    query = ("--series", series_uid(series))

    said = run("healthimaging", "delete", "cloud", *query, "--yes")

    assert said.out == "cloud: 1 image sets deleted\n", said.err
    assert json.loads(run("healthimaging", "list", "cloud", *query, "--json").out) == []
    assert run("healthimaging", "delete", "cloud", *query, "--yes").status == 1


def test_nothing_is_deleted_without_a_word(
    run: Run, cloud: Cloud, series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    run("healthimaging", "import", "cloud", *map(str, series))
    query = ("--series", series_uid(series))
    assert run("healthimaging", "delete", "cloud", *query).status == 1
    assert run("healthimaging", "delete", "cloud", "--yes").status == 2
    assert len(json.loads(run("healthimaging", "list", "cloud", *query, "--json").out)) == 1


def test_staged_uploads_that_nobody_needs_are_cleaned(run: Run, cloud: Cloud) -> None:
    s3 = cloud.s3()
    for key in ("cli/gateway-abandoned/00000.dcm", "cli/gateway-abandoned/00001.dcm", "cli/others"):
        s3.put_object(Bucket="staged", Key=key, Body=b"x")

    assert run("healthimaging", "clean", "bulk", "--yes").out == "bulk: nothing to clean\n"
    said = run("healthimaging", "clean", "bulk", "--older-than-hours", "0", "--yes")

    assert said.out == "bulk: 1 staged uploads deleted (0.0 GB)\n"
    left = [one["Key"] for one in s3.list_objects_v2(Bucket="staged", Prefix="cli/")["Contents"]]
    assert left == ["cli/others"]
    assert "has no input_s3_uri" in run("healthimaging", "clean", "cloud").err
    s3.delete_object(Bucket="staged", Key="cli/others")


def test_what_open_jobs_need_is_never_cleaned(run: Run, cloud: Cloud, node: Path) -> None:
    from gateway.settings import load_settings
    from gateway.store import Job, JobAction, JobState, open_store
    from gateway.store.database import Database

    settings = load_settings(node)
    settings.node.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.index_url)
    database.upgrade()
    database.close()
    store = open_store(settings)
    job = Job(
        id="a",
        series_instance_uid="2.25.2",
        revision=1,
        rule="r",
        action=JobAction.FORWARD,
        node="bulk",
    )
    store.jobs.add([job])
    [upload] = store.uploads.prepare(store.jobs.get("a"), [{"1": "k1"}])
    cloud.s3().put_object(Bucket="staged", Key=f"cli/gateway-{upload.id}/00000.dcm", Body=b"x")
    clean = ("healthimaging", "clean", "bulk", "--yes")
    assert run(*clean, "--older-than-hours", "0").out == "bulk: nothing to clean\n"
    store.jobs.ended("a", JobState.DEAD)
    store.close()
    assert run(*clean).out == "bulk: 1 staged uploads deleted (0.0 GB)\n"


def test_a_data_store_is_deleted_when_it_is_empty(
    run: Run, cloud: Cloud, node: Path, series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = cloud.client().create_datastore(datastoreName="other")["datastoreId"]
    node.write_text(node.read_text().replace(cloud.data_store_id, other))
    run("healthimaging", "import", "cloud", str(series[0]))

    refused = run("healthimaging", "delete-store", "cloud", "--yes")
    assert (refused.status, "still holds image sets" in refused.err) == (1, True)
    study = str(dcmread(series[0], stop_before_pixels=True).StudyInstanceUID)
    run("healthimaging", "delete", "cloud", "--study", study, "--yes")

    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert run("healthimaging", "delete-store", "cloud").status == 1, "that is not its id"
    assert run("healthimaging", "delete-store", "cloud", "--yes").status == 0
    left = cloud.client().list_datastores(datastoreStatus="ACTIVE")["datastoreSummaries"]
    assert [one["datastoreId"] for one in left] == [cloud.data_store_id]
