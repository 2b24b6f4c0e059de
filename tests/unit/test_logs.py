"""Log lines: JSON, in one place, readable by machines."""

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from gateway.logs import configure_logs


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    yield
    for handler in root.handlers:
        if handler not in before[1]:
            handler.close()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(folder: Path, process: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / f"{process}.log").read_text().splitlines()]


def test_a_line_is_one_json_object_with_time_level_role_and_process(tmp_path: Path) -> None:
    configure_logs("receiver-0", tmp_path / "logs")

    structlog.get_logger().warning("instance_refused", sop_instance_uid="1.2.3", status="A700H")

    (line,) = lines(tmp_path / "logs", "receiver-0")
    assert line.pop("timestamp", "").__class__ is str
    assert isinstance(line.pop("process"), int)
    assert line == {
        "event": "instance_refused",
        "level": "warning",
        "role": "receiver-0",
        "sop_instance_uid": "1.2.3",
        "status": "A700H",
    }


def test_the_same_lines_go_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("worker", tmp_path)

    structlog.get_logger().info("series_routed")

    assert capsys.readouterr().err == (tmp_path / "worker.log").read_text()


def test_a_disk_that_takes_no_line_makes_none_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "worker.log").symlink_to("/dev/full")
    configure_logs("worker", tmp_path)

    structlog.get_logger().info("series_routed")

    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "series_routed"
    for handler in logging.getLogger().handlers:
        # As at the end of a process: what was not written is lost.
        with suppress(OSError):
            handler.close()


def test_lines_of_libraries_have_the_same_form(tmp_path: Path) -> None:
    configure_logs("web", tmp_path)

    logging.getLogger("some.library").error("broke: %s", "thing\nwith a second line")

    (line,) = lines(tmp_path, "web")
    assert line["event"] == "broke: thing\nwith a second line"
    assert line["level"] == "error"


def test_an_exception_stays_on_one_line(tmp_path: Path) -> None:
    configure_logs("web", tmp_path)

    try:
        raise ValueError("why\nit failed")
    except ValueError:
        structlog.get_logger().exception("broke")

    (line,) = lines(tmp_path, "web")
    assert "it failed" in str(line["exception"])


@pytest.mark.parametrize("library", ["pydicom", "highdicom", "dbos", "alembic"])
def test_libraries_that_may_speak_of_patients_are_quiet(tmp_path: Path, library: str) -> None:
    configure_logs("worker", tmp_path)

    logging.getLogger(library).info("Patient's Name: Mustermann^Erika")
    logging.getLogger(library).debug("Patient's Name: Mustermann^Erika")

    assert (tmp_path / "worker.log").read_text() == ""
