"""A queue server (bluesky-queueserver) seen from the live page: what it does, and what it is asked to do.

By its own protocol, JSON over 0MQ, with pyzmq alone: the client of bluesky-queueserver 0.0.25 leaves a thread behind
with each request, and loads ophyd.
Each question is a request of its own with a time-out, in the thread that asks. What the server says is kept for a
second, so that it is asked as seldom for many pages as for one.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError, ScanError, name_missing_extra
from .live_state import mapping

ANSWER_S = 3.0  # in which the server has to answer
KEEP_S = 1.0  # a question keeps the manager busy for 10 ms
PAUSE_S = 20.0  # from asking for a pause to the pause, where a plan is to be stopped
ASK_S = 0.2  # between two questions meanwhile
LAST = 5  # plans that have ended
CLOCKS_S = 1.0  # by which two clocks of one beamline may differ
USER, GROUP = "cxgi web", "primary"  # who asks, and the group of `user_group_permissions.yaml` that has its rights
PUBLIC_KEY_VARIABLE = "QSERVER_ZMQ_PUBLIC_KEY"  # as for `qserver`: of a server that encrypts
PUBLIC_KEY_BYTES = 32
ADDRESS = re.compile(r"tcp://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")


@dataclass(frozen=True)
class QueueState:
    """What a queue server says of itself.

    Attributes
    ----------
    problem : str or None
        Why nothing is known; all else is empty then.
    manager : str
        What its manager says that it does: "idle", "executing_queue", "paused".
    is_open : bool
        Whether there is an environment, the process that runs plans.
    pausing : bool
        A pause was asked for and is not there yet.
    running : mapping
        The plan that runs or is paused; empty for none.
    open_runs : tuple of str
        Uids of its runs that have not ended, as far as the manager knows: some time after they begin.
    items : tuple of mapping
        What waits, in this order.
    ended : tuple of mapping
        The last that have ended, the newest first.
    """

    problem: str | None = None
    manager: str = ""
    is_open: bool = False
    pausing: bool = False
    running: Mapping[str, Any] = field(default_factory=dict)
    open_runs: tuple[str, ...] = ()
    items: tuple[Mapping[str, Any], ...] = ()
    ended: tuple[Mapping[str, Any], ...] = ()

    @property
    def item(self) -> str:
        """Uid of the plan that runs; empty for none."""
        return str(self.running.get("item_uid", ""))

    def makes(self, start: Mapping[str, Any]) -> bool:
        """Whether a run that is under way, by its start document, is of the plan that runs here."""
        if not self.running:
            return False
        if self.open_runs:
            return start["uid"] in self.open_runs
        begun = mapping(self.running.get("properties")).get("time_start")
        return not isinstance(begun, int | float) or start["time"] > begun - CLOCKS_S


class QueueServer:
    """Ask a queue server, over its control socket.

    Parameters
    ----------
    address : str
        Of the control socket: ``tcp://HOST:PORT``, port 60615 unless the server was told another.

    Raises
    ------
    CxgiError
        For an address or a public key that is none, and without pyzmq.
    """

    def __init__(self, address: str) -> None:
        if ADDRESS.fullmatch(address) is None:
            raise ConfigError(f"--queue {address}: give tcp://HOST:PORT, such as tcp://127.0.0.1:60615")
        with name_missing_extra():
            from zmq.utils import z85
        self.address = address
        self._public_key = os.environ.get(PUBLIC_KEY_VARIABLE, "").encode()
        if self._public_key:
            try:
                valid = len(z85.decode(self._public_key)) == PUBLIC_KEY_BYTES
            except (ValueError, KeyError):
                valid = False
            if not valid:
                raise ConfigError(f"{PUBLIC_KEY_VARIABLE} holds no public key of a queue server: 40 characters")
        self._lock = threading.Lock()
        self._kept, self._kept_at = QueueState(), float("-inf")
        self._lists: dict[str, tuple[Any, Mapping[str, Any]]] = {}

    def _ask(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        """Return what the server answers; that it refuses, or does not answer, is an error of one line."""
        answer = self._request({"method": method, "params": parameters})
        if not isinstance(answer, Mapping):
            raise ScanError(f"What answers at {self.address} is no queue server")
        if not answer.get("success", True):
            raise ScanError(f"The queue server refuses: {_one_line(answer.get('msg'))}")
        return answer

    def _request(self, question: Mapping[str, Any]) -> Any:
        """Send one request of its protocol, JSON over 0MQ, and return the answer."""
        import zmq

        connection: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        with connection:
            connection.setsockopt(zmq.LINGER, 0)
            connection.setsockopt(zmq.SNDTIMEO, int(1000 * ANSWER_S))
            connection.setsockopt(zmq.RCVTIMEO, int(1000 * ANSWER_S))
            if self._public_key:
                connection.curve_serverkey = self._public_key
                connection.curve_publickey, connection.curve_secretkey = zmq.curve_keypair()
            try:
                connection.connect(self.address)
                connection.send_json(question)
                return connection.recv_json()
            except zmq.ZMQError as error:
                raise ScanError(
                    f"The queue server at {self.address} does not answer: is start-re-manager running?"
                ) from error
            except ValueError:  # no JSON
                return None

    def _status(self) -> Mapping[str, Any]:
        return self._ask("status")

    def _list(self, method: str, version: Any) -> Mapping[str, Any]:
        """Return a list of the server's, which is asked for when its version has changed."""
        kept = self._lists.get(method)
        if kept is None or kept[0] != version:
            kept = self._lists[method] = (version, self._ask(method))
        return kept[1]

    # ------------------------------------------------------------ what it does

    def state(self, *, new: bool = False) -> QueueState:
        """Return what the server says of itself; never raises.

        Parameters
        ----------
        new : bool
            Ask in any case: something was changed.
        """
        with self._lock:
            if new or time.monotonic() - self._kept_at > KEEP_S:
                try:
                    self._kept = self._read_state()
                except ScanError as error:
                    self._kept = QueueState(problem=str(error))
                self._kept_at = time.monotonic()
            return self._kept

    def _read_state(self) -> QueueState:
        status = self._status()
        queue = self._list("queue_get", status.get("plan_queue_uid"))
        runs = self._list("re_runs", status.get("run_list_uid"))
        history = self._list("history_get", status.get("plan_history_uid"))
        running = mapping(queue.get("running_item"))
        opened = (str(run.get("uid")) for run in _mappings(runs.get("run_list")) if run.get("is_open"))
        return QueueState(
            manager=str(status.get("manager_state")),
            is_open=bool(status.get("worker_environment_exists")),
            pausing=bool(status.get("pause_pending")),
            running=running,
            open_runs=tuple(opened) if running else (),
            items=_mappings(queue.get("items")),
            ended=_mappings(history.get("items"))[: -LAST - 1 : -1],
        )

    # ------------------------------------------------------------ what it is asked to do

    def pause(self, *, at_once: bool) -> None:
        """Pause the plan that runs, which closes the shutter.

        Parameters
        ----------
        at_once : bool
            Break off the exposure, which is repeated when the scan goes on; else pause after it.

        Raises
        ------
        CxgiError
            If the server refuses or does not answer.
        """
        self._ask("re_pause", option="immediate" if at_once else "deferred")

    def resume(self, item: str) -> None:
        """Let the plan that is paused go on.

        Parameters
        ----------
        item : str
            Its uid: another plan is left alone.

        Raises
        ------
        CxgiError
            If it does not run any more, and as in `pause`.
        """
        self._check_runs(item, self._status())
        self._ask("re_resume")

    def stop(self, item: str, *, keep: bool) -> None:
        """End the plan that runs: pause it, if it is not paused, then end it.

        Parameters
        ----------
        item : str
            Its uid: another plan is left alone.
        keep : bool
            Take what was measured for the whole ("stop"); else the run is marked as aborted and the plan goes back to
            the front of the queue.

        Raises
        ------
        CxgiError
            If it does not run any more or does not pause, and as in `pause`.
        """
        asked, until = False, time.monotonic() + PAUSE_S
        while True:
            status = self._status()
            self._check_runs(item, status)
            if status.get("manager_state") == "paused":
                break
            if time.monotonic() > until:
                raise ScanError("The plan was asked to pause and does not yet: stop it again when it is paused")
            if not asked:
                asked = self._pauses()
            time.sleep(ASK_S)
        self._ask("re_stop" if keep else "re_abort")

    def _pauses(self) -> bool:
        """Ask for a pause; refused while the engine begins or resumes a plan."""
        try:
            self.pause(at_once=True)
        except ScanError:
            return False
        return True

    def _check_runs(self, item: str, status: Mapping[str, Any]) -> None:
        if not item or status.get("running_item_uid") != item:
            raise ScanError("That plan does not run any more: nothing was done, look again at what runs now")

    def start(self) -> None:
        """Start the queue.

        Raises
        ------
        CxgiError
            As in `pause`.
        """
        if not self._status().get("worker_environment_exists"):
            raise ScanError("The environment of the queue server is not open: qserver environment open")
        self._ask("queue_start")

    def add(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Add a plan of a mask scan at the end of the queue; the object is moved where the server has an object stage.

        Parameters
        ----------
        name : str
            Of the plan.
        arguments : mapping
            Its keyword arguments, as JSON has them.

        Raises
        ------
        CxgiError
            As in `pause`.
        """
        devices = mapping(self._ask("devices_allowed", user_group=GROUP).get("devices_allowed"))
        moving = {"object_stage": "object_stage"} if "object_stage" in devices else {}
        item = {
            "item_type": "plan", "name": name, "args": ["stage", "shutter", "diode"], "kwargs": {**arguments, **moving},
        }  # fmt: skip
        self._ask("queue_item_add", item=item, user=USER, user_group=GROUP)

    def remove(self, item: str) -> None:
        """Remove a plan that waits.

        Parameters
        ----------
        item : str
            Its uid.

        Raises
        ------
        CxgiError
            If it does not wait, and as in `pause`.
        """
        self._ask("queue_item_remove", uid=item)


def _mappings(value: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else ()


def _one_line(text: Any) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= 400 else f"{line[:400]} ..."
