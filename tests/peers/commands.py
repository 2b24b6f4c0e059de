"""Many commands of the gateway in one process: starting Python for each costs a second.

Every line of the input is a JSON list of words; for every one a line comes out, a JSON object
with what the command printed and its exit status.
"""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from gateway.cli import main
from tests.peers.node import ROOT, Node


def shown(node: Node, series_instance_uids: Sequence[str]) -> list[dict[str, Any]]:
    """Return ``gateway series show UID --json`` of many series."""
    config = str(node.config)
    asked = [["series", "show", uid, "--json", "--config", config] for uid in series_instance_uids]
    done = subprocess.run(
        [sys.executable, "-m", "tests.peers.commands"],
        input="\n".join(map(json.dumps, asked)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked), done.stderr
    for answer in answers:
        assert answer["status"] == 0, answer
    return [json.loads(answer["printed"]) for answer in answers]


def _answer(words: Sequence[str]) -> dict[str, object]:
    printed = io.StringIO()
    sys.argv = ["gateway", *words]
    status: object = 0
    with contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
    return {"printed": printed.getvalue(), "status": status}


if __name__ == "__main__":
    for line in sys.stdin.read().splitlines():
        sys.stdout.write(json.dumps(_answer(json.loads(line))) + "\n")
