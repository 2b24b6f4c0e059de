"""One-off commands: what they print, and how they end."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.dicom.part10 import file_header
from gateway.settings import load_settings
from gateway.store import Job, JobAction, JobState, NodeStore, open_store
from gateway.store.completion import CompletionIndex
from gateway.store.database import Database
from tests.unit.cli.conftest import Run
from tests.unit.dimse.peer import StoringPeer
from tests.unit.store.samples import (
    CT,
    EXPLICIT,
    PATIENT,
    PATIENT_ID,
    SERIES,
    STUDY,
    offer,
    origin,
)


def dicom(folder: Path, number: int, **values: str) -> Path:
    one = offer(number, **values)
    path = folder / f"{number}.dcm"
    path.write_bytes(file_header(CT, one.sop_instance_uid, EXPLICIT) + one.data_set)
    return path


def point_at(node: Path, port: int) -> None:
    node.write_text(node.read_text().replace("port = 104", f"port = {port}"))


@pytest.fixture
def off(node: Path) -> Iterator[None]:
    """The PACS of the settings does not listen."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        point_at(node, unused.getsockname()[1])
        yield


@pytest.fixture
def store(node: Path) -> Iterator[NodeStore]:
    """The node's store, as if it had run."""
    settings = load_settings(node, {})
    settings.node.data_dir.mkdir()
    database = Database(settings.index_url)
    database.upgrade()
    database.close()
    opened = open_store(settings)
    yield opened
    opened.close()


class TestTransfer:
    def test_echo_says_who_answered(self, run: Run, node: Path) -> None:
        with StoringPeer() as peer:
            point_at(node, peer.node.port)
            said = run("echo", "pacs")
        assert said.status == 0
        assert said.out == f"pacs: PACS at 127.0.0.1:{peer.node.port} answers\n"

    @pytest.mark.usefixtures("off")
    @pytest.mark.parametrize("words", [("echo", "pacs"), ("send", "pacs", "1.dcm")])
    def test_a_node_that_is_off_is_one_clear_line(
        self, run: Run, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        dicom(tmp_path, 1)
        said = run(*words)
        assert said.status == 1
        (line,) = said.err.splitlines()
        assert line.startswith("PACS at 127.0.0.1:")
        assert line.endswith("does not answer; is its DICOM service running?")

    @pytest.mark.usefixtures("node")
    def test_an_unknown_node_is_told_with_those_there_are(self, run: Run) -> None:
        said = run("echo", "vna")
        assert (said.status, said.err) == (
            1,
            "no node named 'vna' in the settings; there are: pacs\n",
        )

    def test_send_sends_folders_byte_for_byte_and_leaves_other_files_out(
        self, run: Run, node: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "out"
        (folder / "deeper").mkdir(parents=True)
        dicom(folder, 1)
        dicom(folder / "deeper", 2)
        (folder / "README.txt").write_text("not DICOM")
        (folder / "empty").write_bytes(b"")
        with StoringPeer() as peer:
            point_at(node, peer.node.port)
            said = run("send", "pacs", "out")
        assert said.status == 0
        assert said.out.strip().endswith("pacs: 2 of 2 stored")
        assert peer.received == {one.sop_instance_uid: one.data_set for one in (offer(1), offer(2))}

    def test_what_the_peer_refuses_is_told_and_ends_with_1(
        self, run: Run, node: Path, tmp_path: Path
    ) -> None:
        for number in (1, 2):
            dicom(tmp_path, number)
        with StoringPeer(answer=lambda uid, _: 0xA900 * uid.endswith(".2")) as peer:
            point_at(node, peer.node.port)
            said = run("send", "pacs", "1.dcm", "2.dcm")
            listed = run("send", "pacs", "1.dcm", "2.dcm", "--json")
        assert said.status == 1
        assert "pacs: 1 of 2 stored\n  1 refused: A900H" in said.out
        assert listed.status == 1
        assert json.loads(listed.out) == [
            {"sop_instance_uid": f"{SERIES}.1", "outcome": "stored", "detail": "0000H"},
            {"sop_instance_uid": f"{SERIES}.2", "outcome": "refused", "detail": "A900H"},
        ]

    @pytest.mark.usefixtures("node")
    def test_nothing_to_send_is_told(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert run("send", "pacs", "empty").err == "no DICOM files under empty\n"
        assert run("send", "pacs", "nowhere").err == "no such file or folder: nowhere\n"


class TestRules:
    @pytest.fixture(autouse=True)
    def _rules(self, node: Path) -> None:
        rule = node.parent / "routing_rules" / "10-ct-tissue.yaml"
        rule.write_text(
            "rule: two-slices-of-ct\n"
            "when: {Modality: CT, instances: {at_least: 2}}\n"
            "then:\n  - forward: {to: [pacs]}\n"
        )

    def test_it_says_which_rule_matches_and_why(self, run: Run, tmp_path: Path) -> None:
        for number in (1, 2):
            dicom(tmp_path, number)
        said = run("rules", "test", "1.dcm", "2.dcm")
        assert said.status == 0
        assert f"series {SERIES}: 2 instances" in said.out
        assert "  matches: two-slices-of-ct" in said.out

    def test_it_says_which_does_not_and_why(self, run: Run, tmp_path: Path) -> None:
        said = run("rules", "test", str(dicom(tmp_path, 1)))
        assert said.status == 0
        assert "  no match: two-slices-of-ct" in said.out
        assert "instances" in said.out.partition("no match: two-slices-of-ct")[2]

    def test_it_speaks_json(self, run: Run, tmp_path: Path) -> None:
        (described,) = json.loads(run("rules", "test", str(dicom(tmp_path, 1)), "--json").out)
        assert (described["series_instance_uid"], described["instances"]) == (SERIES, 1)
        outcome = described["decision"][0]
        assert (outcome["rule"], outcome["matched"]) == ("two-slices-of-ct", False)
        assert outcome["reasons"]

    def test_it_never_names_the_patient(self, run: Run, tmp_path: Path) -> None:
        said = run("rules", "test", str(dicom(tmp_path, 1)))
        assert PATIENT not in said.out + said.err
        assert PATIENT_ID not in said.out + said.err

    def test_a_file_without_a_transfer_syntax_does_not_end_in_a_traceback(
        self, run: Run, tmp_path: Path
    ) -> None:
        (tmp_path / "bare.dcm").write_bytes(bytes(128) + b"DICM" + offer(1).data_set)
        assert run("rules", "test", "bare.dcm").status in (0, 1)

    def test_no_dicom_is_told(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("not DICOM")
        assert run("rules", "test", "text").err == "no DICOM files under text\n"


class TestModels:
    def test_models_are_listed_without_settings(self, run: Run) -> None:
        said = run("models", "list", "--json")
        assert said.status == 0
        (model,) = (one for one in json.loads(said.out) if one["model"] == "ct_tissue")
        assert model["modality"] == ["CT"]
        assert len(model["segments"]) == 3
        assert model["version"]

    def test_and_as_a_table(self, run: Run) -> None:
        assert "ct_tissue" in run("models", "list").out

    def test_an_unknown_model_is_told(self, run: Run) -> None:
        said = run("models", "verify", "nonesuch")
        assert said.status == 1
        assert "nonesuch" in said.err

    def test_a_folder_without_dicom_or_with_two_series_is_told(
        self, run: Run, tmp_path: Path
    ) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        assert run("models", "run", "ct_tissue", "in", "out").err == "no DICOM files under in\n"
        dicom(folder, 1)
        dicom(folder, 2, series="2.25.9")
        said = run("models", "run", "ct_tissue", "in", "out")
        assert (said.status, said.err) == (
            1,
            "in holds 2 series; give a folder with one of them\n",
        )


class TestStore:
    @pytest.mark.usefixtures("node")
    def test_a_node_that_never_ran_is_told(self, run: Run) -> None:
        said = run("series", "list")
        assert said.status == 1
        assert "holds no index; has `gateway serve` run here?" in said.err

    @pytest.mark.usefixtures("store")
    def test_an_unknown_series_or_job_is_told(self, run: Run) -> None:
        assert run("series", "show", "1.2.3").err == "no series 1.2.3 is known to this node\n"
        for command in ("show", "retry", "cancel"):
            said = run("jobs", command, "nonesuch")
            assert (said.status, said.err) == (1, "no job nonesuch is known to this node\n")

    @pytest.mark.usefixtures("store")
    def test_an_empty_node_has_empty_lists(self, run: Run) -> None:
        assert json.loads(run("series", "list", "--json").out) == []
        assert json.loads(run("jobs", "list", "--json").out) == []
        assert run("series", "list").status == 0
        assert run("jobs", "list").status == 0

    def test_the_listing_is_what_scripts_expect(self, run: Run, store: NodeStore) -> None:
        store.intake.keep(offer(1), origin())
        listed = {
            "series_instance_uid": SERIES,
            "study_instance_uid": STUDY,
            "modality": "CT",
            "instances": 1,
            "state": "receiving",
            "revision": 0,
        }
        assert json.loads(run("series", "list", "--json").out) == [listed]
        shown = json.loads(run("series", "show", SERIES, "--json").out)
        assert listed.items() <= shown.items()
        (file,) = shown["files"]
        assert {
            "sop_instance_uid",
            "sop_class_uid",
            "transfer_syntax_uid",
            "sha256",
            "bytes",
            "path",
        } <= set(file)
        assert Path(file["path"]).is_file()
        assert {"completed_because", "decision", "jobs"} <= set(shown)

    def test_a_series_says_what_it_waits_for_and_then_why_it_is_complete(
        self, run: Run, store: NodeStore
    ) -> None:
        completion = CompletionIndex(store.database)
        store.intake.keep(offer(1), origin())
        assert "complete  not yet\n" in run("series", "show", SERIES).out
        completion.counted(SERIES, 7, "node pacs")
        assert "not yet; node pacs counts 7 instances\n" in run("series", "show", SERIES).out
        assert completion.complete_now(SERIES, "somebody knows")
        assert "complete  somebody knows\n" in run("series", "show", SERIES).out

    def test_no_listing_names_the_patient(self, run: Run, store: NodeStore) -> None:
        store.intake.keep(offer(1), origin())
        for words in (("series", "list"), ("series", "show", SERIES), ("jobs", "list")):
            for form in ((), ("--json",)):
                said = run(*words, *form)
                assert said.status == 0
                assert PATIENT not in said.out
                assert PATIENT_ID not in said.out

    def test_jobs_are_cancelled_and_retried(self, run: Run, store: NodeStore) -> None:
        store.jobs.add(
            [
                Job(
                    id="j1",
                    series_instance_uid=SERIES,
                    revision=1,
                    rule="r",
                    action=JobAction.FORWARD,
                    node="pacs",
                )
            ]
        )
        assert run("jobs", "retry", "j1").err == (
            "job j1 is queued; only dead and refused jobs are retried\n"
        )
        assert run("jobs", "cancel", "j1").out == "job j1 is cancelled\n"
        assert run("jobs", "cancel", "j1").err == "job j1 is dead already\n"
        assert store.jobs.get("j1").state is JobState.DEAD
        assert run("jobs", "retry", "j1").out == "job j1 is queued again\n"
        (listed,) = json.loads(run("jobs", "list", "--json", "--state", "queued").out)
        assert {"id", "action", "node", "model", "state", "attempts", "error", "results"} <= set(
            listed
        )
        assert "queued" in run("jobs", "show", "j1").out
