"""gateway.toml: what it means, what the environment changes, and how mistakes are told."""

import textwrap
from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.settings import (
    AllowedPeer,
    DicomwebNode,
    DimseNode,
    HealthImagingNode,
    Settings,
    find_settings_file,
    load_settings,
)

CLOUD = """\
[nodes.cloud]
kind = "healthimaging"
region = "us-east-1"
datastore_id = "0123456789abcdef0123456789abcdef"
"""
EVERYTHING = """\
[node]
ae_title = "GATEWAY"
data_dir = "/var/lib/gateway"       # objects/, index.sqlite, workflow.sqlite, logs/
rules_dir = "routing_rules"         # relative to this file
models_dir = "models"
reserve_gb = 5                      # below this free space nothing new is accepted

[dimse]
bind = "0.0.0.0"
port = 11112
receivers = 0                       # 0: one per core
allow = [ { ae_title = "CT1", host = "10.0.0.5" } ]   # empty: anyone, with a warning at start
quiet_seconds = 5                   # completion fallback

[web]
bind = "127.0.0.1"
port = 8080

[database]                          # left out: SQLite files under data_dir
url = "postgresql://gateway@db/gateway"

[nodes.pacs]                        # a DIMSE peer
kind = "dimse"
ae_title = "PACS"
host = "10.0.0.2"
port = 104
storage_commitment = true

[nodes.vna]
kind = "dicomweb"
url = "https://vna.example/dicom-web"

[nodes.cloud]
kind = "healthimaging"
region = "us-east-1"
datastore_id = "0123456789abcdef0123456789abcdef"
upload = "stow"                     # or "import-job", with input_s3_uri, output_s3_uri, role_arn
endpoint_url = ""                   # a stand-in for tests: all three planes on this address
s3_endpoint_url = ""

[sources.research]                  # pulled, not pushed
node = "vna"
every_seconds = 60
query = { Modality = "CT", StudyDate = "today" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def load(folder: Path, text: str, **environment: str) -> Settings:
    return load_settings(written(folder, text), environment)


def told(folder: Path, text: str, **environment: str) -> list[str]:
    """Return the problems, each without the folder before its file's name."""
    with pytest.raises(ConfigurationInvalid) as refused:
        load(folder, text, **environment)
    return [str(problem).removeprefix(f"{folder}/") for problem in refused.value.problems]


def test_every_documented_key_has_its_documented_meaning(tmp_path: Path) -> None:
    settings = load(tmp_path, EVERYTHING)

    assert settings.node.ae_title == "GATEWAY"
    assert settings.node.data_dir == Path("/var/lib/gateway")
    assert settings.node.rules_dir == tmp_path / "routing_rules"
    assert settings.node.models_dir == tmp_path / "models"
    assert settings.node.reserve_gb == 5
    assert (settings.dimse.bind, settings.dimse.port) == ("0.0.0.0", 11112)  # noqa: S104
    assert settings.dimse.receivers == 0
    assert settings.dimse.allow == (AllowedPeer(ae_title="CT1", host="10.0.0.5"),)
    assert settings.dimse.quiet_seconds == 5
    assert (settings.web.bind, settings.web.port) == ("127.0.0.1", 8080)
    assert settings.index_url == "postgresql+psycopg://gateway@db/gateway"
    assert settings.workflow_url == settings.index_url
    assert settings.nodes == {
        "pacs": DimseNode(
            kind="dimse", ae_title="PACS", host="10.0.0.2", port=104, storage_commitment=True
        ),
        "vna": DicomwebNode(kind="dicomweb", url="https://vna.example/dicom-web"),
        "cloud": HealthImagingNode(
            kind="healthimaging",
            region="us-east-1",
            datastore_id="0123456789abcdef0123456789abcdef",
        ),
    }
    assert settings.sources["research"].node == "vna"
    assert settings.sources["research"].every_seconds == 60
    assert settings.sources["research"].query == {"Modality": "CT", "StudyDate": "today"}


def test_what_is_left_out_has_the_documented_default(tmp_path: Path) -> None:
    documented = load(tmp_path, EVERYTHING)
    empty = load(tmp_path, "")

    assert empty.node == documented.node
    assert empty.web == documented.web
    assert empty.dimse.allow == ()
    assert empty.dimse.model_copy(update={"allow": documented.dimse.allow}) == documented.dimse
    assert empty.index_url == "sqlite:////var/lib/gateway/index.sqlite"
    assert empty.workflow_url == "sqlite:////var/lib/gateway/workflow.sqlite"


def test_relative_folders_start_at_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    written(tmp_path / "etc", '[node]\ndata_dir = "data"\nrules_dir = "../rules"\n')
    monkeypatch.chdir(tmp_path)

    node = load_settings(Path("etc/gateway.toml"), {}).node

    assert node.data_dir == tmp_path / "etc" / "data"
    assert node.rules_dir.resolve() == tmp_path / "rules"


def test_settings_cannot_be_changed_after_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, "").dimse.port = 104


def test_a_node_may_count_the_series_of_senders(tmp_path: Path) -> None:
    text = """\
        [nodes.vna]
        kind = "dicomweb"
        url = "https://vna.example/dicom-web"
        counts_for = ["CT1", "CT2"]
        """
    node = load(tmp_path, text).nodes["vna"]
    assert isinstance(node, DicomwebNode)
    assert node.counts_for == ("CT1", "CT2")


class TestEnvironment:
    """Any key can be set by environment."""

    def test_it_stands_before_the_file(self, tmp_path: Path) -> None:
        settings = load(tmp_path, EVERYTHING, GATEWAY_DIMSE__PORT="11113")
        assert settings.dimse.port == 11113

    def test_it_sets_what_the_file_leaves_out(self, tmp_path: Path) -> None:
        settings = load(
            tmp_path,
            "",
            GATEWAY_NODE__DATA_DIR="data",
            GATEWAY_DATABASE__URL="postgresql://db/gateway",
            GATEWAY_NODES__PACS__KIND="dimse",
            GATEWAY_NODES__PACS__AE_TITLE="PACS",
            GATEWAY_NODES__PACS__HOST="10.0.0.2",
        )
        assert settings.node.data_dir == tmp_path / "data"
        assert settings.index_url == "postgresql+psycopg://db/gateway"
        assert settings.nodes["pacs"].kind == "dimse"

    def test_lists_and_tables_are_written_as_json(self, tmp_path: Path) -> None:
        settings = load(
            tmp_path,
            EVERYTHING,
            GATEWAY_DIMSE__ALLOW='[{"ae_title": "MR1"}]',
            GATEWAY_NODES__CT='{"kind": "dimse", "ae_title": "CT", "host": "ct"}',
        )
        assert settings.dimse.allow == (AllowedPeer(ae_title="MR1"),)
        assert set(settings.nodes) == {"pacs", "vna", "cloud", "ct"}

    def test_other_variables_are_none_of_its_business(self, tmp_path: Path) -> None:
        settings = load(
            tmp_path, "", GATEWAY_CONFIG="elsewhere", GATEWAY_TEST_DATA="x", DIMSE__PORT="1"
        )
        assert settings == load(tmp_path, "")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("GATEWAY_DIMSE__PORT", "a hundred"),
            ("GATEWAY_DIMSE__PROT", "104"),
            ("GATEWAY_DIMSE__ALLOW", "CT1"),
            ("GATEWAY_DIMSE__ALLOW", "[{broken"),
            ("GATEWAY_NODES", "x"),
            ("GATEWAY_DIMSE__PORT__DEEPER", "1"),
            ("GATEWAY_DIMSE__ALLOW__0__AE_TITLE", "CT1"),
            ("GATEWAY_NODES__PACS__PORT__X__Y", "1"),
            ("GATEWAY_DIMSE__", "1"),
            ("GATEWAY___", "1"),
        ],
    )
    def test_a_wrong_variable_is_told_and_never_a_traceback(
        self, tmp_path: Path, name: str, value: str
    ) -> None:
        if name == "GATEWAY_NODES":
            # One underscore joins words; only two lead into a table.
            assert load(tmp_path, EVERYTHING, **{name: value}) == load(tmp_path, EVERYTHING)
        else:
            assert told(tmp_path, EVERYTHING, **{name: value})

    def test_a_wrong_variable_is_named(self, tmp_path: Path) -> None:
        (problem,) = told(tmp_path, EVERYTHING, GATEWAY_DIMSE__ALLOW="[{broken")
        assert "GATEWAY_DIMSE__ALLOW" in problem


class TestMistakes:
    """Every problem of a file at once, with its place."""

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (
                "[dimse]\nbind = '127.0.0.1'\nprot = 104\n",
                "gateway.toml:3:1: unknown key `prot`; did you mean `port`?",
            ),
            ("[dmise]\n", "gateway.toml:1:1: unknown key `dmise`; did you mean `dimse`?"),
            (
                "[nodes.pacs]\nkind = 'dimse'\nae_titel = 'P'\nae_title = 'P'\nhost = 'h'\n",
                "gateway.toml:3:1: unknown key `ae_titel`; did you mean `ae_title`?",
            ),
            (
                "[dimse]\nport = 'eleven'\n",
                "gateway.toml:2:1: port: must be a whole number, not 'eleven'",
            ),
            ("[dimse]\nport = 70000\n", "gateway.toml:2:1: port: must be at most 65535, not 70000"),
            (
                "[nodes.pacs]\nkind = 'dimse'\nae_title = 'PACS'\n",
                "gateway.toml:1:1: the key `host` is missing",
            ),
            (
                "[web]\nport = [8080]\n",
                "gateway.toml:2:1: port: must be a whole number, not a list",
            ),
            ("[sources.a]\nnode = 'x'\n", "gateway.toml:2:1: no node named 'x'"),
        ],
    )
    def test_each_names_line_column_and_the_way_out(
        self, tmp_path: Path, text: str, problem: str
    ) -> None:
        assert told(tmp_path, text) == [problem]

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            (
                'Modalty = "CT"',
                "8:1: Modalty: HealthImaging cannot be searched by it; did you mean `Modality`?",
            ),
            (
                'PatientID = "P1"\nSliceThickness = "1"',
                "9:1: SliceThickness: HealthImaging cannot be searched by it; it can by "
                "SeriesInstanceUID, StudyInstanceUID, AccessionNumber, StudyID, PatientID, "
                "StudyDate, Modality, BodyPartExamined, SeriesNumber, StudyDescription, "
                "PatientSex; let a rule test the rest",
            ),
            (
                'StudyDate = "yesterday"',
                "8:1: StudyDate: must be a date as 20260131, a range as 20260101-20260131, "
                'or "today"',
            ),
            (
                'StudyDate = "20260201-20260131"',
                "8:1: StudyDate: must be a date as 20260131, a range as 20260101-20260131, "
                'or "today"',
            ),
            (
                'PatientID = "P*"',
                "8:1: PatientID: is matched whole: neither wildcards nor several values",
            ),
            ('StudyInstanceUID = "x"', "8:1: StudyInstanceUID: must be a UID"),
            ('SeriesNumber = "one"', "8:1: SeriesNumber: must be a whole number"),
            (
                'AccessionNumber = " "',
                "8:1: AccessionNumber: has no value; leave the key out where any value will do",
            ),
        ],
        ids=str,
    )
    def test_a_query_that_a_data_store_cannot_answer(
        self, tmp_path: Path, query: str, problem: str
    ) -> None:
        source = "[sources.a]\nnode = 'cloud'\n[sources.a.query]\n"
        assert told(tmp_path, f"{CLOUD}{source}{query}\n") == [f"gateway.toml:{problem}"]

    def test_a_query_on_one_line_has_the_place_of_the_query(self, tmp_path: Path) -> None:
        source = "[sources.a]\nnode = 'cloud'\nquery = { Modality = 'CT', Rows = '512' }\n"
        [said] = told(tmp_path, f"{CLOUD}{source}")
        assert said.startswith("gateway.toml:7:1: Rows: HealthImaging cannot be searched by it")

    @pytest.mark.parametrize("name", ["result", "stow", "x" * 65])
    def test_a_source_that_rules_would_take_for_something_else(
        self, tmp_path: Path, name: str
    ) -> None:
        [said] = told(tmp_path, f"{CLOUD}[sources.{name}]\nnode = 'cloud'\n")
        assert said.startswith("gateway.toml:5:1: name the source otherwise: ")

    def test_two_nodes_that_count_for_one_sender(self, tmp_path: Path) -> None:
        node = "[nodes.{0}]\nkind = 'dimse'\nae_title = '{0}'\nhost = 'h'\ncounts_for = ['CT1']\n"
        (problem,) = told(tmp_path, node.format("pacs") + node.format("vna"))
        assert problem == (
            "gateway.toml:10:1: series of CT1 are counted by node 'pacs' already; remove one"
        )

    def test_all_are_told_at_once(self, tmp_path: Path) -> None:
        problems = told(tmp_path, "[node]\nx = 1\n[dimse]\nport = -1\n[web]\ny = 2\n")
        assert [problem.split(":")[1] for problem in problems] == ["2", "4", "6"]

    @pytest.mark.parametrize("text", ["[node\n", "a = = 1\n", "[a]\n[a]\n", "a = 'x\n", "\0"])
    def test_what_is_no_toml_names_the_place(self, tmp_path: Path, text: str) -> None:
        (problem,) = told(tmp_path, text)
        name, line, column, _ = problem.split(":", 3)
        assert name == "gateway.toml"
        assert int(line) >= 1
        assert int(column) >= 1

    @pytest.mark.parametrize("title", ["", "SEVENTEEN_LETTERS", "A\\\\B", "TÄTIGKEIT", " PACS"])
    def test_an_ae_title_that_no_peer_can_carry(self, tmp_path: Path, title: str) -> None:
        (problem,) = told(tmp_path, f'[node]\nae_title = "{title}"\n')
        assert problem.startswith("gateway.toml:2:1: ae_title: must be text of")

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationInvalid, match="no such settings file"):
            load_settings(tmp_path / "nowhere.toml", {})

    def test_a_folder_in_place_of_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationInvalid, match="no such settings file"):
            load_settings(tmp_path, {})

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "gateway.toml"
        path.write_bytes(b"[node]\nae_title = '\xff\xfe'\n")
        with pytest.raises(ConfigurationInvalid, match=r"gateway\.toml:2:\d+: .*UTF-8"):
            load_settings(path, {})


class TestSearch:
    """--config, GATEWAY_CONFIG, ./gateway.toml, /etc/gateway/gateway.toml."""

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_the_one_named_stands_first(self, tmp_path: Path) -> None:
        written(tmp_path, "")
        found = find_settings_file(Path("mine.toml"), {"GATEWAY_CONFIG": "theirs.toml"})
        assert found == Path("mine.toml")

    def test_then_the_environment(self, tmp_path: Path) -> None:
        written(tmp_path, "")
        found = find_settings_file(None, {"GATEWAY_CONFIG": "theirs.toml"})
        assert found == Path("theirs.toml")

    def test_then_the_working_folder(self, tmp_path: Path) -> None:
        written(tmp_path, "")
        assert find_settings_file(None, {}) == Path("gateway.toml")

    def test_then_the_machine_or_nothing(self) -> None:
        machine = Path("/etc/gateway/gateway.toml")
        assert find_settings_file(None, {}) == (machine if machine.is_file() else None)


def test_import_jobs_need_places_and_a_role(tmp_path: Path) -> None:
    text = (
        '[nodes.cloud]\nkind = "healthimaging"\nregion = "us-east-1"\n'
        'datastore_id = "0123456789abcdef0123456789abcdef"\nupload = "import-job"\n'
        'input_s3_uri = "bucket/in"\noutput_s3_uri = "s3://bucket/out"\n'
    )

    with pytest.raises(ConfigurationInvalid) as refused:
        load(tmp_path, text)

    assert [(one.line, one.message) for one in refused.value.problems] == [
        (6, 'upload = "import-job" needs input_s3_uri, of the form s3://BUCKET/PREFIX'),
        (5, 'upload = "import-job" needs role_arn, of the form arn:aws:iam::ACCOUNT:role/NAME'),
    ]
    whole = text.replace("bucket/in", "s3://bucket/in") + (
        'role_arn = "arn:aws:iam::111122223333:role/import"\n'
    )
    node = load(tmp_path, whole).nodes["cloud"]
    assert isinstance(node, HealthImagingNode)
    assert node.maximum_import_jobs == 20


def test_all_that_contradicts_itself_is_told_at_once(tmp_path: Path) -> None:
    text = (
        '[nodes.cloud]\nkind = "healthimaging"\nregion = "us-east-1"\n'
        'datastore_id = "0123456789abcdef0123456789abcdef"\nupload = "import-job"\n'
        '[sources.a]\nnode = "cloud"\nquery = { StudyDate = "yesterday" }\n'
        '[sources.b]\nnode = "clod"\n'
    )
    with pytest.raises(ConfigurationInvalid) as refused:
        load(tmp_path, text)
    assert [one.line for one in refused.value.problems] == [8, 10, 5, 5, 5]
