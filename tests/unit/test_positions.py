"""Files that people edit are read with positions, and never end in a traceback."""

import tomllib
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import ConfigurationInvalid, Problem
from gateway.positions import load_toml, load_yaml, parse_toml, parse_yaml, problems

FILE = Path("some.yaml")


def refusal(text: str) -> Problem:
    with pytest.raises(ConfigurationInvalid) as raised:
        parse_yaml(FILE, text)
    return raised.value.problems[0]


class Segment(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    label: str
    value: int = Field(gt=0)


class Descriptor(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    output: Literal["seg", "labelmap"] = "seg"
    segments: list[Segment] = []
    by_name: dict[str, Segment] = {}


class TestYaml:
    @pytest.mark.parametrize(
        ("written", "value"),
        [
            ("YES", "YES"),
            ("no", "no"),
            ("On", "On"),
            ("true", True),
            ("False", False),
            ("", None),
            ("~", None),
            ("2024-01-31", "2024-01-31"),
            ("20240131", 20240131),
            ("00123", "00123"),
            ("12:30:45", "12:30:45"),
            ("3", 3),
            ("-2.5", -2.5),
            ("1e3", 1000.0),
            ("0x1F", 31),
            (".inf", float("inf")),
            ("1_000", "1_000"),
            ("'3'", "3"),
            ('"true"', "true"),
            ("CT", "CT"),
        ],
    )
    def test_words_become_values_as_in_yaml_1_2(self, written: str, value: object) -> None:
        data = parse_yaml(FILE, f"key: {written}\n")[0].data
        assert data == {"key": value}
        assert type(data["key"]) is type(value)

    def test_words_stay_as_written_on_request(self) -> None:
        document = parse_yaml(FILE, "1: 1.50\nb: [true, '', x]\nc:\n", as_written=True)[0]
        assert document.data == {"1": "1.50", "b": ["true", "", "x"], "c": None}

    def test_each_key_and_item_has_its_line_and_column(self) -> None:
        text = "# a comment\nrule: one\nwhen:\n  all:\n    - Modality: CT\n    - {a: 1,  b: 2}\n"
        document = parse_yaml(FILE, text)[0]
        assert document.position(()) == (2, 1)
        assert document.position(("rule",)) == (2, 1)
        assert document.position(("when", "all")) == (4, 3)
        assert document.position(("when", "all", 0)) == (5, 7)
        assert document.position(("when", "all", 0, "Modality")) == (5, 7)
        assert document.position(("when", "all", 1, "b")) == (6, 15)

    def test_an_unknown_place_has_the_position_of_its_nearest_ancestor(self) -> None:
        document = parse_yaml(FILE, "a:\n  b: 1\n")[0]
        assert document.position(("a", "missing", 3)) == (1, 1)
        assert document.position(("a", "name-of-a-union-member", "b")) == (2, 3)

    def test_documents_of_one_file_keep_the_lines_of_the_file(self) -> None:
        first, second = parse_yaml(FILE, "a: 1\n---\n# between\nb: 2\n---\n")
        assert (first.data, second.data) == ({"a": 1}, {"b": 2})
        assert second.position(("b",)) == (4, 1)

    @pytest.mark.parametrize(
        ("text", "position", "words"),
        [
            ("", (1, 1), "empty"),
            ("# only a comment\n", (1, 1), "empty"),
            ("a: 1\nb: 2\na: 3\n", (3, 1), "given twice, first in line 1"),
            ("a:\n\tb: 1\n", (2, 1), "tab"),
            ("a:\n  \tb: 1\n", (2, 3), "tab"),
            ("a: b: c\n", (1, 5), "not YAML"),
            ("a: 1\nb: 'open\n\n", (2, 4), "not YAML"),
            ("a: [1, 2\nb: 3\n", (2, 2), "not YAML"),
            ("a: &x 1\nb: *x\n", (1, 4), "anchors"),
            ("a: *x\n", (1, 4), "aliases"),
            ("a: !!python/object:os.system x\n", (1, 4), "tags"),
            ("? [a]\n: 1\n", (1, 3), "a key must be a word"),
            (": 1\n", (1, 1), "key is missing"),
            ("a: \x01\n", (1, 4), "U+0001"),
            ('a: "\\U00110000"\n', (1, 1), "not YAML"),
            ("a: " + "[" * 100_000, (1, 43), "levels deep"),
        ],
    )
    def test_a_file_that_is_refused_says_where(
        self, text: str, position: tuple[int, int], words: str
    ) -> None:
        problem = refusal(text)
        assert words in problem.message
        assert (problem.line, problem.column) == position

    def test_a_billion_laughs_is_refused_before_it_is_told(self) -> None:
        laughs = "a: &a [lol, lol]\n" + "".join(
            f"{new}: &{new} [*{old}, *{old}, *{old}]\n"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        )
        assert "anchors" in refusal(laughs).message

    def test_all_repeated_keys_are_named(self) -> None:
        with pytest.raises(ConfigurationInvalid) as raised:
            parse_yaml(FILE, "a: 1\na: 2\nb: {c: 1, c: 2}\n")
        assert [(one.line, one.column) for one in raised.value.problems] == [(2, 1), (3, 11)]

    def test_bytes_that_are_not_utf_8_are_refused_at_their_place(self, tmp_path: Path) -> None:
        path = tmp_path / "rule.yaml"
        path.write_bytes(b"rule: x\nlabel: \xe4\n")
        with pytest.raises(ConfigurationInvalid) as raised:
            load_yaml(path)
        assert str(raised.value).startswith(f"{path}:2:8: this is not UTF-8")

    def test_windows_files_are_read(self, tmp_path: Path) -> None:
        path = tmp_path / "rule.yaml"
        path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
        document = load_yaml(path)[0]
        assert document.data == {"a": 1, "b": 2}
        assert document.position(("b",)) == (2, 1)

    def test_a_missing_or_huge_file_is_a_problem(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationInvalid, match="cannot be read"):
            load_yaml(tmp_path / "none.yaml")
        huge = tmp_path / "huge.yaml"
        huge.write_bytes(b"#" * (1 << 20) + b"\n")
        with pytest.raises(ConfigurationInvalid, match="larger than"):
            load_yaml(huge)

    @given(st.text(alphabet=" \t\n:-[]{},#&*!|>'\"%@`?ab1\\x", max_size=60))
    @example("%YAML 1.1\n---\na")
    @example("- - - - ? - :")
    @example("a: |9\n x")
    def test_no_text_ends_in_a_traceback(self, text: str) -> None:
        try:
            documents = parse_yaml(FILE, text)
            places = [document.position(()) for document in documents]
        except ConfigurationInvalid as error:
            places = [(problem.line, problem.column) for problem in error.problems]
        assert places
        assert all(line >= 1 and column >= 1 for line, column in places)


class TestModelProblems:
    def problems_of(self, text: str) -> list[str]:
        document = parse_yaml(FILE, text)[0]
        with pytest.raises(ValidationError) as raised:
            Descriptor.model_validate(document.data)
        return [str(one) for one in problems(FILE, document, raised.value, model=Descriptor)]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("output: seg\n", "some.yaml:1:1: the key `model` is missing"),
            (
                "model: a\noutptu: seg\n",
                "some.yaml:2:1: unknown key `outptu`; did you mean `output`?",
            ),
            (
                "model: a\noutput: segg\n",
                "some.yaml:2:1: output: must be one of seg, labelmap, not 'segg'; "
                "did you mean `seg`?",
            ),
            ("model: [a]\n", "some.yaml:1:1: model: must be text, not a list"),
            (
                "model: a\nsegments:\n  - label: x\n    value: 0\n",
                "some.yaml:4:5: value: must be more than 0, not 0",
            ),
            (
                "model: a\nsegments:\n  - {label: x, valeu: 1, value: 1}\n",
                "some.yaml:3:16: unknown key `valeu`; did you mean `value`?",
            ),
            (
                "model: a\nby_name:\n  q: {label: x, value: many}\n",
                "some.yaml:3:17: value: must be a whole number, not 'many'",
            ),
            ("model: a\nsegments: 3\n", "some.yaml:2:1: segments: must be a list, not 3"),
        ],
    )
    def test_a_problem_is_told_in_words_at_its_place(self, text: str, expected: str) -> None:
        assert self.problems_of(text) == [expected]

    def test_all_problems_are_told_in_the_order_of_the_file(self) -> None:
        found = self.problems_of("segments: 3\noutput: 4\nx: 1\n")
        assert [one.split(":")[1] for one in found] == ["1", "1", "2", "3"]


class TestToml:
    def test_each_key_and_table_has_its_line_and_column(self, tmp_path: Path) -> None:
        path = tmp_path / "gateway.toml"
        path.write_text(
            '# head\n[node]\nae_title = "A#[x]"\nlist = [\n  1, # a = 2\n  "]",\n]\n'
            '  after = 1\n[nodes.pacs]\nport = 104\n"odd key".b = """\nfake = 1\n"""\nlast.c = 1\n'
            "[[peers]]\nname = 'a'\n[[peers]]\n  name = 'b'\n[peers.inner]\nx = {y = 1}\n"
        )
        document = load_toml(path)
        assert document.data == tomllib.loads(path.read_text())
        expected = {
            ("node",): (2, 1),
            ("node", "ae_title"): (3, 1),
            ("node", "list"): (4, 1),
            ("node", "list", 1): (4, 1),
            ("node", "after"): (8, 3),
            ("nodes",): (9, 1),
            ("nodes", "pacs"): (9, 1),
            ("nodes", "pacs", "port"): (10, 1),
            ("nodes", "pacs", "odd key", "b"): (11, 1),
            ("nodes", "pacs", "fake"): (9, 1),
            ("nodes", "pacs", "last", "c"): (14, 1),
            ("peers",): (15, 1),
            ("peers", 0, "name"): (16, 1),
            ("peers", 1, "name"): (18, 3),
            ("peers", 1, "inner", "x", "y"): (20, 1),
            ("elsewhere",): (1, 1),
        }
        assert {place: document.position(place) for place in expected} == expected

    @pytest.mark.parametrize(
        ("text", "position"),
        [
            ("a = 1\nb = \n", (2, 5)),
            ("a = 1\na = 2\n", (2, 6)),
            ('a = "open\n', (1, 10)),
            ("[a\n", (1, 3)),
            ("a = [1,\n", (1, 8)),
            ("a = " + "[" * 50_000, (1, 1)),
            ("a = " + "9" * 5000, (1, 1)),
        ],
    )
    def test_a_syntax_error_has_its_position(self, text: str, position: tuple[int, int]) -> None:
        with pytest.raises(ConfigurationInvalid) as raised:
            parse_toml(Path("gateway.toml"), text)
        problem = raised.value.problems[0]
        assert (problem.line, problem.column) == position
        assert "TOML" in problem.message or "deeply" in problem.message

    @given(st.text(alphabet=" \n=[]{}.,#'\"ab1-\\", max_size=50))
    @example('a."b\\u0041" = 1')
    @example("''.a = ''''x'''''")
    @example('a = {"b]" = "}"} # x\nc = 1')
    def test_every_key_of_a_valid_text_has_a_position(self, text: str) -> None:
        try:
            document = parse_toml(Path("gateway.toml"), text)
            places = [document.positions[(key,)] for key in document.data]
        except ConfigurationInvalid as error:
            places = [(problem.line, problem.column) for problem in error.problems]
        assert all(line >= 1 and column >= 1 for line, column in places)
