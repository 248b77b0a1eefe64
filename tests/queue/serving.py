"""A queue server of a test's own: redis, the manager, and a client of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import zmq

from tests import warm
from tests.patience import PATIENCE_S, eventually

ROOT = Path(__file__).parents[2]
# The manager gives its worker 0.5 s to answer and takes a plan whose report comes later for failed: too short where
# tests share two cores.
MANAGER = f"""
from bluesky_queueserver.manager.comms import PipeJsonRpcSendAsync
from bluesky_queueserver.manager.start_manager import start_manager
PipeJsonRpcSendAsync.__init__.__kwdefaults__["timeout"] = {PATIENCE_S}
start_manager()
"""
ASK_S = 0.1  # each question keeps the manager busy for 10 ms
DEVICES = ("stage", "shutter", "diode")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Queue:
    """``start-re-manager`` with a start-up folder, its environment open.

    Parameters
    ----------
    profile : Path
        Of ``cxgi queue-profile``.
    folder : Path
        For what is printed.
    ends : ExitStack
        Ends it.
    environment : dict, optional
        Further variables.
    """

    def __init__(self, profile: Path, folder: Path, ends: ExitStack, environment: dict[str, str] | None = None) -> None:
        assert shutil.which("redis-server"), "the queue's tests need redis-server (apt-get install redis-server)"
        redis_port, control, info = free_port(), *(f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        self._ends, self.folder = ends, folder
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(environment or {})}
        words = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder))
        self._begin("redis", "redis-server", "--port", str(redis_port), *words)
        eventually(lambda: answers(redis_port), True)
        places = ("--redis-addr", f"127.0.0.1:{redis_port}", "--zmq-control-addr", control, "--zmq-info-addr", info)
        self._manager = self._begin("manager", sys.executable, "-c", MANAGER, "--startup-dir", str(profile), *places)
        self._client = ends.enter_context(ends.enter_context(zmq.Context()).socket(zmq.REQ))
        self._client.setsockopt(zmq.LINGER, 0)
        self._client.setsockopt(zmq.RCVTIMEO, int(1000 * PATIENCE_S))
        self.address = control
        self._client.connect(control)
        self.open_environment()

    def _begin(self, name: str, *words: str) -> Any:
        log = self._ends.enter_context((self.folder / f"{name}.log").open("w"))
        start = warm.Popen if words[0] == sys.executable else subprocess.Popen
        process = start(words, stdout=log, stderr=subprocess.STDOUT, env=self._environment)
        self._ends.callback(process.wait, PATIENCE_S)
        self._ends.callback(process.terminate)
        return process

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the manager answers."""
        self._client.send_json({"method": method, "params": parameters})
        return self._client.recv_json()

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The same, which must succeed."""
        answer = self.ask(method, **parameters)
        assert answer["success"], answer["msg"]
        return answer

    def open_environment(self) -> None:
        self.do("environment_open")
        self.wait_for("worker_environment_state", "idle")
        for what in ("plans_allowed", "devices_allowed"):  # the manager takes them over a little later
            eventually(lambda what=what: len(self.do(what, user_group="primary")[what]) > 0, True, every_s=ASK_S)

    @property
    def worker(self) -> int:
        """Process that runs the plans, the manager's newest child."""
        children = Path(f"/proc/{self._manager.pid}/task").glob("*/children")
        return max(int(number) for file in children for number in file.read_text().split())

    def wait_for(self, word: str, *wanted: Any) -> None:
        """Wait for what the manager says of its state."""
        eventually(lambda: self.ask("status")[word], lambda seen: seen in wanted, every_s=ASK_S)

    def add(self, name: str, *devices: str, **options: Any) -> dict[str, Any]:
        """Add a plan; what the manager says of it."""
        item = {"item_type": "plan", "name": name, "args": list(devices or DEVICES), "kwargs": options}
        return self.ask("queue_item_add", item=item, user="test", user_group="primary")

    def begin(self, name: str, *devices: str, **options: Any) -> None:
        """Add a plan and let it run."""
        answer = self.add(name, *devices, **options)
        assert answer["success"], answer["msg"]
        self.done = len(self.history())
        self.do("queue_start")

    def run_begun(self) -> str:
        """Wait for the run of the plan that was begun; its uid. The manager lists the plan's before until then."""
        known = {uid for item in self.history() for uid in item["result"]["run_uids"]}

        def begun() -> list[str]:
            return [run["uid"] for run in self.do("re_runs")["run_list"] if run["uid"] not in known]

        eventually(lambda: len(begun()), 1, every_s=ASK_S)
        return begun()[0]

    def pause(self, option: str) -> None:
        """Pause what runs; asked for again while the engine still resumes."""
        self.run_begun()
        eventually(lambda: self.ask("re_pause", option=option)["success"], True, every_s=ASK_S)
        self.wait_for("manager_state", "paused")

    def end(self) -> dict[str, Any]:
        """Wait for the end of the plan that was begun; its result."""
        eventually(lambda: len(self.history()), self.done + 1, every_s=ASK_S)
        self.wait_for("manager_state", "idle")
        self.do("queue_clear")  # a plan that did not succeed is put back
        return self.history()[-1]["result"]

    def run(self, name: str, *devices: str, **options: Any) -> dict[str, Any]:
        self.begin(name, *devices, **options)
        return self.end()

    def history(self) -> list[dict[str, Any]]:
        return self.do("history_get")["items"]
