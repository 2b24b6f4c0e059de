"""Content types, and what a client accepts."""

import pytest

from gateway.dicomweb.media_type import MediaType, negotiated

JSON, XML = "application/dicom+json", "application/dicom+xml"


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("application/dicom", "application/dicom", {}),
        ("Application/DICOM ; Q=1", "application/dicom", {"q": "1"}),
        (
            'multipart/related; type="application/dicom"; boundary="a b;c,d\\"e"',
            "multipart/related",
            {"type": "application/dicom", "boundary": 'a b;c,d"e'},
        ),
        (
            "multipart/related;boundary=--x=1;type=application/dicom",
            "multipart/related",
            {"boundary": "--x=1", "type": "application/dicom"},
        ),
        ("multipart/related; boundary=first; boundary=second;", "multipart/related",
         {"boundary": "first"}),
        ('multipart/related; boundary=""', "multipart/related", {"boundary": ""}),
    ],
)  # fmt: skip
def test_a_media_type_and_its_parameters(text: str, name: str, parameters: dict[str, str]) -> None:
    parsed = MediaType.parse(text)
    assert parsed is not None
    assert (parsed.name, dict(parsed.parameters)) == (name, parameters)


@pytest.mark.parametrize("text", ["", "dicom", ";boundary=x", "/", '"application/dicom"'])
def test_what_is_no_media_type(text: str) -> None:
    assert MediaType.parse(text) is None


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("*", JSON),
        ("application/*", JSON),
        (XML, XML),
        (f"{JSON};q=0.5, {XML}", XML),
        (f"{XML};q=0.9,{JSON};q=0.9", JSON),
        (f"text/html, {XML};q=0.1", XML),
        (f"*/*;q=0.2, {XML}", XML),
        (f"{JSON};q=0, */*", XML),
        (f"{JSON}; charset=utf-8; q=high", JSON),
        ("text/html", None),
        ("application/dicom", None),
        (f"{JSON};q=0", None),
        ('multipart/related; type="application/dicom+xml"', None),
        ("nonsense", None),
    ],
)
def test_the_answer_that_a_client_wants_most(accept: str, chosen: str | None) -> None:
    assert negotiated(accept, (JSON, XML)) == chosen
