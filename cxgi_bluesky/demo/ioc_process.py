"""The IOC of a demonstration, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from ..errors import CxgiError

END_S = 15.0


def leave_channel_access() -> None:
    """Close this process' channels for good, before their IOC ends: libca would tell the user of lost connections."""
    from epics import ca

    ca.finalize_libca()


class DemoIoc:
    """``cxgi ioc`` on free ports, as fast as it can; it closes the shutter and ends with the ``with`` block.

    It does not get the keyboard's Ctrl-C, so that the scan can still close the shutter through it, and it ends by
    itself if this process is killed.

    Parameters
    ----------
    prefix, board, object_name : str
    seed : int

    Attributes
    ----------
    environment : dict
        What a client needs in its environment before it imports ophyd.
    counted : dict
        What the IOC says at its end.

    Raises
    ------
    CxgiError
        Without caproto or pyepics, or if the IOC does not start.
    """

    def __init__(self, *, prefix: str, board: str, object_name: str, seed: int) -> None:
        if find_spec("caproto") is None or find_spec("epics") is None:
            raise CxgiError("cxgi demo --epics needs caproto and pyepics: pip install 'cxgi_bluesky[epics]'")
        self.counted: dict[str, Any] = {}
        self.said = ""
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - not a pipe, which nobody would empty
        options = {"--prefix": prefix, "--board": board, "--object": object_name, "--seed": str(seed)}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "cxgi_bluesky.cli", "ioc", "--json", "--end-with-parent", "--time-scale", "0"),
                *(word for option in options.items() for word in option),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self.environment: dict[str, str] = self._announcement()["environment"]

    def _announcement(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except KeyboardInterrupt:
            self.end()
            raise CxgiError("interrupted before the first exposure") from None
        if not line:
            self.end()
            raise CxgiError(f"the IOC did not start: {(self.said.splitlines() or ['it said nothing'])[-1]}")
        told = dict(json.loads(line))
        if "error" in told:
            self.end()
            raise CxgiError(f"the IOC did not start: {told['error']}")
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> dict[str, Any]:
        """End it, the shutter first; what it counted."""
        if self._log.closed:
            return self.counted
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            self._log.close()
            raise CxgiError(f"the IOC did not end within {END_S:g} s and was killed") from None
        if rest and rest.strip():
            self.counted = json.loads(rest)
        self._log.seek(0)
        self.said = self._log.read().strip()
        self._log.close()
        return self.counted

    def tell_clients(self) -> None:
        """Put its addresses into this process' environment; Channel Access reads them once."""
        os.environ.update(self.environment)
