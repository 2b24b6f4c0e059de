"""Which forms of a result a node gets, and how objects are told apart by their UIDs."""

import itertools
from pathlib import Path

import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from gateway.errors import ConfigurationInvalid
from gateway.inference.descriptor import Output
from gateway.inference.forms import (
    DEFAULT,
    Form,
    MadeObject,
    forms_for,
    possible_forms,
    report_form,
    taken_by,
)
from gateway.settings import (
    DicomwebNode,
    DimseNode,
    OutputName,
    ResultSettings,
    TransferSyntaxName,
    load_settings,
)

PREFIX = ("digest", "model", "rule")
ANYTHING = ResultSettings()
SEG, LABELMAP, SR, SC, RTSTRUCT = (
    Output.SEG,
    Output.LABELMAP,
    Output.SR,
    Output.SC,
    Output.RTSTRUCT,
)


@pytest.mark.parametrize(
    ("descriptor", "node", "gets"),
    [
        ([SEG], None, ["seg"]),
        ([SR, SEG, SC], None, ["seg", "sc", "sr"]),
        ([SEG, SR, SC], ("seg", "sr"), ["seg", "sr"]),
        ([SEG, SR], ("labelmap", "sr"), ["labelmap", "sr"]),
        ([LABELMAP], ("seg",), ["seg"]),
        ([SEG, LABELMAP], ("labelmap",), ["labelmap"]),
        ([SEG, LABELMAP], None, ["seg", "labelmap"]),
        ([SEG], ("sc",), []),
    ],
)
def test_the_table_of_what_a_node_gets(
    descriptor: list[Output], node: tuple[OutputName, ...] | None, gets: list[str]
) -> None:
    forms = forms_for(descriptor, ResultSettings(outputs=node))
    assert [form.output.value for form in forms] == gets


def test_a_report_refers_to_the_segmentation_that_the_node_gets() -> None:
    [label_map, report] = forms_for([SEG, SR], ResultSettings(outputs=("labelmap", "sr")))
    assert report.about == label_map
    [alone] = forms_for([SR], ANYTHING)
    assert alone.about is None
    assert report_form(ANYTHING) == (alone,)
    assert report_form(ResultSettings(outputs=("seg",))) == ()


def test_each_object_has_the_transfer_syntax_that_it_can_have() -> None:
    settings = ResultSettings(transfer_syntax="rle-lossless")
    given = {f.output: f.transfer_syntax_uid for f in forms_for(list(Output), settings)}
    assert given == {
        Output.SEG: ExplicitVRLittleEndian,
        Output.LABELMAP: RLELossless,
        Output.FRACTIONAL: RLELossless,
        Output.SR: ExplicitVRLittleEndian,
        Output.SC: RLELossless,
        Output.RTSTRUCT: ImplicitVRLittleEndian,
    }


def test_what_a_kind_of_object_does_not_have_makes_no_other_form() -> None:
    particular = ResultSettings(omit_empty_frames=False, max_frames=9)
    for output in (SR, SC, RTSTRUCT):
        assert Form.made(output, particular) == Form.made(output, ANYTHING)
    assert Form.made(LABELMAP, ResultSettings(max_frames=9)) == Form.made(LABELMAP, ANYTHING)


def test_every_form_has_uids_of_its_own_and_only_its_own() -> None:
    syntaxes: tuple[TransferSyntaxName, ...] = ("explicit-vr-little-endian", "rle-lossless")
    settings = [
        ResultSettings(omit_empty_frames=omit, max_frames=most, transfer_syntax=syntax)
        for omit, most, syntax in itertools.product((True, False), (0, 1, 11), syntaxes)
    ]
    forms = set(itertools.chain.from_iterable(map(possible_forms, settings)))
    made = {form: named(form, number=2) for form in forms if form != DEFAULT}
    assert len({one.sop_instance_uid for one in made.values()}) == len(made)
    for form, other in itertools.product(made, made):
        one = made[other]
        has = form.has_made(one.sop_instance_uid, one.series_instance_uid, most=2)
        assert has == (form == other)


def test_a_node_takes_its_own_forms_of_what_was_made_for_several() -> None:
    usual, plain = ANYTHING, ResultSettings(outputs=("seg",))
    full = ResultSettings(outputs=("seg", "sr"), omit_empty_frames=False)
    every = [usual, plain, full]
    forms = dict.fromkeys(form for node in every for form in forms_for([SEG, SR, SC], node))
    made = [named(form) for form in forms]

    def taken(node: ResultSettings) -> list[MadeObject]:
        return list(taken_by(made, node, every))

    assert taken(plain) == [named(DEFAULT)]
    assert taken(full) == [named(form) for form in forms_for([SEG, SR], full)]
    assert set(taken(usual)) == {named(form) for form in forms_for([SEG, SR, SC], usual)}


def named(form: Form, number: int = 1) -> MadeObject:
    return MadeObject(
        sop_class_uid="1.2.3",
        sop_instance_uid=form.sop_instance_uid(PREFIX, number),
        series_instance_uid=form.series_instance_uid(PREFIX),
    )


def test_a_nodes_forms_are_read_from_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[nodes.pacs]\nkind = "dimse"\nae_title = "PACS"\nhost = "10.0.0.2"\n'
        '[nodes.pacs.results]\noutputs = ["labelmap", "sr"]\nmax_frames = 400\n'
        '[nodes.vna]\nkind = "dicomweb"\nurl = "https://vna.example/dicom-web"\n'
    )
    nodes = load_settings(file, {}).nodes
    pacs, vna = nodes["pacs"], nodes["vna"]
    assert isinstance(pacs, DimseNode)
    assert isinstance(vna, DicomwebNode)
    assert pacs.results == ResultSettings(outputs=("labelmap", "sr"), max_frames=400)
    assert vna.results == ResultSettings()


@pytest.mark.parametrize(
    "line", ["outputs = []", 'outputs = ["surface"]', "max_frames = -1", 'transfer_syntax = "zip"']
)
def test_a_form_that_there_is_not_is_found_with_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[nodes.pacs]\nkind = "dimse"\nae_title = "PACS"\nhost = "10.0.0.2"\n'
        f"[nodes.pacs.results]\n{line}\n"
    )
    with pytest.raises(ConfigurationInvalid) as caught:
        load_settings(file, {})
    assert {problem.line for problem in caught.value.problems} == {6}
