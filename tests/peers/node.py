"""The gateway itself, as ``gateway serve`` with settings, rules and data of its own."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.peers.commands import Commands
from tests.peers.processes import Child, accepts_connections, free_port, processes_with, wait_until

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
ENDED = ("done", "failed")
_MARK = "GATEWAY_TESTED_NODE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A DIMSE peer as the node's settings name it."""

    ae_title: str
    port: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a node is set up with; rules are YAML texts by file name.

    Without ``models_dir`` the node has no models, which makes it start faster. A node that learns
    nothing of its peers' pauses, by a low ``longest_quiet_seconds``, serves many tests without
    that one waits for what another sent twice.
    """

    rules: Mapping[str, str]
    peers: Mapping[str, Peer] = field(default_factory=dict)
    allow: Sequence[str] = ()
    quiet_seconds: float = 1
    longest_quiet_seconds: float = 60
    idle_seconds: float = 60
    receivers: int = 1
    reserve_gb: float = 0
    models_dir: Path | None = None
    tables: Sequence[str] = ()
    """More tables of the settings, as TOML."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the node's processes, and commands about it, have in their environment."""


class Node:
    """A gateway process and what its command line says about it."""

    ae_title = "GATEWAY"

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.dicom_port = free_port()
        self.web_port = free_port()
        self._mark = uuid.uuid4().hex
        self._child: Child | None = None
        self._commands: Commands | None = None
        self._plan = plan
        self._write(plan)

    def __enter__(self) -> "Node":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def config(self) -> Path:
        return self.folder / "gateway.toml"

    @property
    def rules_dir(self) -> Path:
        return self.folder / "rules"

    def start(self, ready: int = 200) -> None:
        """Start the node and return once ``/readyz`` has the status it is expected to have."""
        self._child = Child(
            [sys.executable, "-m", "gateway", "serve", "--config", str(self.config)],
            log=self.folder / "serve.log",
            folder=self.folder,
            environment=self._environment(),
        )
        try:
            wait_until(
                lambda: self._answers(ready), f"/readyz is {ready}", 90, 0.2, self._last_words
            )
        except BaseException:
            self.kill_all()
            raise

    def stop(self) -> None:
        """Ask the node to end: it does within 30 s, with status 0 and every process of it."""
        self._end_commands()
        if self._child is None:
            return
        child, self._child = self._child, None
        try:
            status = child.terminate(30)
            left = processes_with(_MARK, self._mark)
            assert not left, f"the node left processes behind: {left}"
            assert status == 0, f"the node ended with status {status}\n{child.tail()}"
        finally:
            self._end(processes_with(_MARK, self._mark))

    def processes(self) -> dict[int, str]:
        """Return {pid: command line} of every process of the node."""
        return processes_with(_MARK, self._mark)

    def kill_all(self) -> None:
        """Kill every process of the node at once, as a power cut does."""
        self._end_commands()
        self._end(self.processes())
        if self._child is not None:
            self._child.kill_group()
        self._child = None

    def kill_worker(self) -> int:
        """kill -9 the process that carries out jobs; return its process id."""
        return self._kill(self.worker())

    def kill_host(self) -> int:
        """kill -9 a model's process; return its process id."""
        hosts = self.hosts()
        assert hosts, f"no model's process runs: {self.processes()}"
        return self._kill(hosts[0])

    def freeze_host(self) -> int:
        """Stop a model's process where it is, so that a job stays in its middle."""
        host = wait_until(self.hosts, "a model's process runs", 120, 0.2, self.log)[0]
        os.kill(host, signal.SIGSTOP)
        return host

    def thaw(self, pid: int) -> None:
        """Let a stopped process run on; one that was killed meanwhile is none of our business."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def worker(self) -> int:
        """Return the process id of the worker."""
        workers = [pid for pid, command in self.processes().items() if "--role worker" in command]
        assert len(workers) == 1, f"not one worker: {self.processes()}"
        return workers[0]

    def hosts(self) -> list[int]:
        """Return the process ids of the models' processes."""
        running = self.processes().items()
        return [pid for pid, command in running if "gateway.inference.host" in command]

    def run(
        self, *words: str, status: int | None = 0, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the gateway on this node's settings."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words, "--config", str(self.config)],
            cwd=self.folder,
            env=self._environment(marked=False),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if status is not None:
            assert done.returncode == status, f"{words}: {done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str) -> Any:
        """Run a command of the gateway and return what its ``--json`` says."""
        return json.loads(self.run(*words, "--json").stdout)

    def series(self) -> list[dict[str, Any]]:
        """Return ``gateway series list --json``."""
        return list(self.json("series", "list"))

    def show(self, series_instance_uid: str) -> dict[str, Any]:
        """Return ``gateway series show UID --json``."""
        return dict(self.json("series", "show", series_instance_uid))

    def shown(self, series_instance_uid: str) -> dict[str, Any]:
        """Return what ``show`` returns, or nothing while the series is unknown.

        Unlike ``show`` it starts no process each time, so that it may be asked often.
        """
        if self._commands is None:
            log = self.folder / "commands.log"
            self._commands = Commands(log, self._environment(marked=False))
        words = ("series", "show", series_instance_uid, "--json", "--config", str(self.config))
        answer = self._commands.ask(*words)
        return dict(json.loads(answer.printed)) if answer.status == 0 else {}

    def wait_for(
        self,
        series_instance_uid: str,
        *,
        states: Sequence[str] = ENDED,
        revision: int = 1,
        seconds: float = 120,
    ) -> dict[str, Any]:
        """Return ``show`` of a series once it is in one of these states at this revision."""
        return wait_until(
            lambda: self._in_state(series_instance_uid, states, revision),
            f"series {series_instance_uid} is {' or '.join(states)}",
            seconds,
            0.2,
            lambda: f"{self.shown(series_instance_uid)}\n{self.log()[-6000:]}",
        )

    def metrics(self) -> str:
        """Return what ``/metrics`` says."""
        return self.get("/metrics")[1]

    def get(self, path: str) -> tuple[int, str]:
        """GET a path of the web port: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def log(self) -> str:
        """Return all that the node logged, on its output and under its data folder."""
        written = [self.folder / "serve.log", *sorted((self.data_dir / "logs").glob("*"))]
        return "".join(path.read_text(errors="replace") for path in written if path.is_file())

    def _in_state(self, uid: str, states: Sequence[str], revision: int) -> dict[str, Any] | None:
        shown = self.shown(uid)
        is_it = shown.get("state") in states and shown["revision"] >= revision
        return shown if is_it else None

    def _answers(self, status: int) -> bool:
        assert self._child is not None
        assert self._child.is_running, f"the node ended\n{self.log()}"
        try:
            return self.get("/readyz")[0] == status and accepts_connections(self.dicom_port)
        except OSError:
            return False

    def _last_words(self) -> str:
        try:
            return f"/readyz: {self.get('/readyz')}\n{self.log()[-6000:]}"
        except OSError:
            return self.log()[-6000:]

    def _environment(self, *, marked: bool = True) -> dict[str, str]:
        kept = {name: v for name, v in os.environ.items() if not name.startswith("GATEWAY_")}
        mark = {_MARK: self._mark} if marked else {}
        own = {"OMP_NUM_THREADS": "2", "PYTHONPATH": "", **self._plan.environment}
        return {**kept, **mark, **own}

    def _end_commands(self) -> None:
        if self._commands is not None:
            self._commands.close()
            self._commands = None

    def _kill(self, pid: int) -> int:
        os.kill(pid, signal.SIGKILL)
        return pid

    def _end(self, pids: Mapping[int, str]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _write(self, plan: Plan) -> None:
        self.rules_dir.mkdir(parents=True)
        for name, text in plan.rules.items():
            (self.rules_dir / name).write_text(text, encoding="utf-8")
        models_dir = plan.models_dir or self.folder / "models"
        models_dir.mkdir(exist_ok=True)
        allow = ", ".join(f'{{ ae_title = "{title}" }}' for title in plan.allow)
        tables = [
            f'[node]\nae_title = "{self.ae_title}"\ndata_dir = "{self.data_dir}"\n'
            f'rules_dir = "{self.rules_dir}"\nmodels_dir = "{models_dir}"\n'
            f"reserve_gb = {plan.reserve_gb}\n",
            f'[dimse]\nbind = "127.0.0.1"\nport = {self.dicom_port}\n'
            f"receivers = {plan.receivers}\nallow = [{allow}]\n"
            f"quiet_seconds = {plan.quiet_seconds}\nidle_seconds = {plan.idle_seconds}\n"
            f"longest_quiet_seconds = {plan.longest_quiet_seconds}\n",
            f"[web]\nport = {self.web_port}\n",
            "[delivery]\nfirst_retry_seconds = 0.5\nlongest_retry_seconds = 2\n",
            *(
                f'[nodes.{name}]\nkind = "dimse"\nae_title = "{peer.ae_title}"\n'
                f'host = "127.0.0.1"\nport = {peer.port}\n'
                for name, peer in plan.peers.items()
            ),
            *plan.tables,
        ]
        self.config.write_text("\n".join(tables), encoding="utf-8")
