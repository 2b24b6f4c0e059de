"""What each error answers on the wire, and whether trying again helps."""

from pathlib import Path

import pytest

from gateway import errors
from gateway.errors import ConfigurationInvalid, GatewayError, GeometryRefused, Problem


@pytest.mark.parametrize(
    ("name", "dimse_status", "http_status", "retry_helps"),
    [
        ("PeerUnavailable", 0xA700, 503, True),
        ("PeerBusy", 0xA700, 503, True),
        ("StoreFull", 0xA700, 507, True),
        ("BundleHostLost", 0xA700, 503, True),
        ("ConfigurationInvalid", 0xC000, 500, False),
        ("PeerRefused", 0xC000, 502, False),
        ("AccessRefused", 0xC000, 502, False),
        ("ModelFailed", 0xC000, 500, False),
        ("NotFound", 0xC000, 404, False),
        ("DataSetUnreadable", 0xC000, 409, False),
        ("FrameUnreadable", 0xC000, 409, False),
        ("InstanceMismatch", 0xA900, 409, False),
        ("StudyMismatch", 0xA901, 409, False),
        ("RequestMalformed", 0xC000, 400, False),
        ("GeometryRefused", 0xC000, 409, False),
        ("InputRefused", 0xC000, 409, False),
    ],
)
def test_the_table_of_answers(
    name: str, dimse_status: int, http_status: int, retry_helps: bool
) -> None:
    error: type[GatewayError] = getattr(errors, name)
    assert (error.dimse_status, error.http_status, error.retry_helps) == (
        dimse_status,
        http_status,
        retry_helps,
    )


def test_problems_print_as_editors_and_compilers_read_them() -> None:
    error = ConfigurationInvalid(
        [Problem(Path("a.yaml"), 3, 7, "wrong"), Problem(Path("b.toml"), 0, 0, "missing")]
    )
    assert str(error).splitlines() == ["a.yaml:3:7: wrong", "b.toml:0:0: missing"]


def test_a_refused_geometry_gives_its_reason_first() -> None:
    refused = GeometryRefused("tilt", "the gantry was tilted by 18.5 degrees", ["1.2.3"])
    assert str(refused) == "tilt: the gantry was tilted by 18.5 degrees"
    assert refused.instances == ("1.2.3",)
