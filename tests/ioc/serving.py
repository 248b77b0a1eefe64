"""An IOC in a process of its own, and a client of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests import warm
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
SEARCH_S = 10  # caproto's searches go astray now and then
SEARCHES = 12
REST_S = 0.001


def rest_between_polls() -> None:
    """Let pyepics rest while it waits for an answer: it looks every 10 us, which takes the IOC's processor time."""
    from epics import ca

    pend_event = ca.pend_event
    ca.pend_event = lambda timeout=REST_S: pend_event(max(timeout, REST_S))


class IocProcess:
    """``cxgi ioc --json``, already answering; ended by its process id.

    Parameters
    ----------
    *arguments : str
        Further arguments of the command line.
    port : int
        0 = a free one.
    """

    def __init__(self, *arguments: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "cxgi_bluesky.cli", "ioc", "--json", "--end-with-parent", "--port", str(port)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - not a pipe, which nobody would empty
        self.process = warm.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=self._log, env=environment)
        line = self.process.stdout.readline()
        if not line:
            self.end()
            raise RuntimeError(f"the IOC did not start: {self.errors}")
        self.info: dict[str, Any] = json.loads(line)

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs in its environment."""
        return self.info["environment"]

    @property
    def prefix(self) -> str:
        return self.info["prefix"]

    def end(self, how: signal.Signals = signal.SIGTERM) -> dict[str, Any]:
        """End it; what it had counted, or nothing if it was killed or had ended before."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        rest, _ = self.process.communicate(timeout=PATIENCE_S)
        if not self._log.closed:
            self._log.seek(0)
            self.errors = self._log.read()
            self._log.close()
        return json.loads(rest) if rest.strip() else {}


class LateIoc:
    """`late_ioc.py` in a process of its own, at a port that clients of the shared IOC know from their start."""

    prefix = "LATE:"
    RESET: ClassVar = {
        "STAMPS": 1,
        "SAME": 0,
        "FORGET": 1,
        "NUMBER": 0,
        "CMD": 0,
        "VALUE:LATE_S": 0.0,
        "SPREAD:LATE_S": 0.0,
        "I0:LATE_S": 0.0,
    }

    @staticmethod
    @cache
    def port() -> int:
        from cxgi_bluesky.simulation.ioc.server import free_port

        return free_port("127.0.0.1")

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("late_ioc.py")), self.prefix, str(self.port())]
        environment = {**os.environ, "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO", "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1"}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **pipes, text=True, env=environment)
        assert self.process.stdout.readline() == "READY\n"

    def end(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE_S)


SUBSCRIBED: list[Any] = []
PVS: dict[str, Any] = {}  # for good, as those: pyepics takes others' channels along when it drops one


class Client:
    """Puts with completion and gets from the server (not from a monitor), through pyepics."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def pv(self, name: str) -> Any:
        import epics

        name = self.prefix + name
        if name not in PVS:
            PVS[name] = epics.PV(name, auto_monitor=False)
            assert PVS[name].wait_for_connection(timeout=PATIENCE_S), f"no answer from {name}"
        return PVS[name]

    def subscribe(self, name: str, hear: Callable[[Any], None]) -> Any:
        """A subscription of its own; its PV, which is kept."""
        import epics

        pv = epics.PV(self.prefix + name, auto_monitor=True, callback=lambda value, **_: hear(value))
        SUBSCRIBED.append(pv)
        assert pv.wait_for_connection(timeout=PATIENCE_S), f"no answer from {pv.pvname}"
        return pv

    def get(self, name: str) -> Any:
        """Value; an enum's word."""
        pv = self.pv(name)
        value = pv.get(as_string=pv.type.endswith("enum"), timeout=PATIENCE_S, use_monitor=False)
        assert value is not None, f"{name} did not answer"
        return value

    def put(self, name: str, value: Any, *, wait: bool = True) -> None:
        assert self.pv(name).put(value, wait=wait, timeout=PATIENCE_S) is not None, f"{name} did not take {value}"

    def expose(self) -> float:
        """Bucket of one exposure (pA)."""
        self.put("ACQUIRE", 1)
        return self.get("VALUE")

    def reset(self) -> None:
        """No faults, everything closed and at its place, counts at 0."""
        for name, value in RESET.items():
            self.put(name, value)


class SlowClient(Client):
    """The same with a connection for each word, for IOCs that come and go: libca remembers those that went."""

    def __init__(self, ioc: IocProcess) -> None:
        super().__init__(ioc.prefix)
        self.environment = ioc.environment

    def get(self, name: str) -> Any:
        from caproto.sync.client import read

        value = self._ask(lambda: read(self.prefix + name, timeout=SEARCH_S, repeater=False).data[0])
        return value.decode() if isinstance(value, bytes) else value

    def is_silent(self, name: str, seconds: float) -> bool:
        """Whether nothing answers for so long."""
        from caproto import CaprotoTimeoutError
        from caproto.sync.client import read

        with self._asking():
            try:
                read(self.prefix + name, timeout=seconds, repeater=False)
            except CaprotoTimeoutError:
                return True
        return False

    def put(self, name: str, value: Any, *, wait: bool = True) -> None:
        from caproto.sync.client import write

        self._ask(lambda: write(self.prefix + name, value, notify=wait, timeout=SEARCH_S, repeater=False))

    def _ask(self, ask: Callable[[], Any]) -> Any:
        """Ask, and again if the search went astray: caproto's sockets share their port with others now and then."""
        from caproto import CaprotoTimeoutError

        with self._asking():
            for left in reversed(range(SEARCHES)):
                try:
                    return ask()
                except CaprotoTimeoutError as error:
                    if left == 0 or "from the search" not in str(error):
                        raise
            raise AssertionError  # the last one has answered, or has raised

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield


RESET = {
    "TIME_SCALE": 0.0,
    "FAULT:STUCK": 0,
    "FAULT:LOST_UM": 0.0,
    "FAULT:SHORT_UM": 0.0,
    "FAULT:SHORT_MOVES": 0,
    "FAULT:CROSSED": 0,
    "FAULT:SHUTTER_DELAY_S": 0.0,
    "FAULT:SHUTTER_FAIL": "none",
    "FAULT:READING": "none",
    "FAULT:READINGS": 0,
    "FAULT:DIP": 0.5,
    "FAULT:TETRAMM_LATE_S": 0.0,
    "FAULT:PERMIT": 0,
    "SHUTTER:RESET": 1,
    "SHUTTER:MAX_OPEN_S": 0.0,
    "SHUTTER:CMD": "Close",
    "SAFETY:CMD": "Open",
    "SOURCE:CMD": "On",
    "EXPOSURE_S": 1.0,
    "KEITHLEY:rangeSet": "2 nA",
    "KEITHLEY:zeroCheckSet": "Off",
    "STAGE:X.VELO": 5.0,
    "STAGE:Y.VELO": 5.0,
    "STAGE:X.HOMF": 1,
    "STAGE:Y.HOMF": 1,
    "OBJECT:X": 0.0,
    "KNIFE:Y": -2.0,
    "COUNT:RESET": 1,
}
