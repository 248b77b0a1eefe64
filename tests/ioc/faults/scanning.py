"""A scanning process that does what it is told, and the test's end of it.

Run as ``python -m tests.ioc.faults.scanning FILE FOLDER DATA``: takes one word a line (see `Scanner`) and answers
each with one JSON object. Every document is written to FOLDER/documents.jsonl at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import warm
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
DOCUMENTS = "documents.jsonl"


class Scanner:
    """The test's end: a process that scans.

    Parameters
    ----------
    file, folder, data : Path
        Beamline file, where documents go, and the data folder of a session.
    environment : dict
        Of the IOC.
    """

    def __init__(self, file: Path, folder: Path, data: Path, environment: dict[str, str]) -> None:
        words = [sys.executable, "-m", "tests.ioc.faults.scanning", str(file), str(folder), str(data)]
        self.folder = folder
        self.said: list[str] = []  # what it has printed else
        self._log = folder / "stderr.txt"
        with self._log.open("a") as log:
            self.process = warm.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    **os.environ,
                    **environment,
                    "PYTHONPATH": str(ROOT),
                    "OMP_NUM_THREADS": "1",
                    "PYTHONUNBUFFERED": "1",
                },
            )

    def tell(self, *words: str) -> None:
        """Tell it what to do: engine or session first; scan OPENING, adaptive_scan, resume, abort, resume_scan UID,
        image UID, reset_alarm, open_shutter."""
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Its next answer."""
        while line := self.process.stdout.readline():
            if line.startswith("{"):  # the RunEngine prints, too
                return json.loads(line)
            self.said.append(line)
        raise AssertionError(f"the scanning process has ended: {self._log.read_text()}")

    def ask(self, *words: str) -> dict[str, Any]:
        self.tell(*words)
        return self.hear()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @property
    def documents(self) -> list[tuple[str, dict[str, Any]]]:
        """All documents so far, of all processes with this folder."""
        return [tuple(json.loads(line)) for line in (self.folder / DOCUMENTS).read_text().splitlines()]

    def end(self) -> None:
        """End it, by its process id."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=PATIENCE_S)
        self.process.stdin.close()
        self.process.stdout.close()


class Writer:
    """Subscriber that writes each document as a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def __call__(self, name: str, document: Any) -> None:
        line = json.dumps([name, document], default=lambda value: value.tolist()) + "\n"
        self._file.write(line.encode())  # in one piece: it is read, and its process killed, at any time


class Words:
    """The process's end: a method for each word."""

    def __init__(self, file: str, folder: Path, data: str) -> None:
        self._file, self._folder, self._data = file, folder, data

    def engine(self) -> dict[str, Any]:
        """A RunEngine and the devices alone."""
        from bluesky import RunEngine

        from cxgi_bluesky.devices.config.load import load_beamline

        return self._begun(RunEngine({}), load_beamline(self._file))

    def session(self) -> dict[str, Any]:
        """A session, with catalog and journal."""
        from cxgi_bluesky.session import start

        self._session = start(beamline=self._file, data=self._data, live=False, progress=False)
        return self._begun(self._session.RE, self._session.beamline)

    def imports(self) -> dict[str, Any]:
        """What a session needs, before it is begun."""
        import bluesky_tiled_plugins
        import tiled.server.app

        import cxgi_bluesky.devices.config
        import cxgi_bluesky.session

        return {"imported": len([bluesky_tiled_plugins, tiled.server.app, cxgi_bluesky])}

    def _begun(self, engine: Any, line: Any) -> dict[str, Any]:
        self._engine, self._line = engine, line
        engine.subscribe(Writer(self._folder / DOCUMENTS))
        return {}

    def scan(self, opening: str) -> dict[str, Any]:
        """Scan, slower from an opening on (`in_exposure`)."""
        import epics

        from .books import PACE, SLOW, Pace
        from .conftest import short_scan

        name = self._line.shutter.command.pvname.replace("SHUTTER:CMD", "TIME_SCALE")
        PACE[:] = [Pace({int(opening)}, lambda: epics.caput(name, SLOW, wait=True))]
        return self._run(lambda: self._engine(short_scan(self._line)))

    def adaptive_scan(self) -> dict[str, Any]:
        """Choose patterns while they are measured."""
        from .books import ADAPTIVE

        return self._run(lambda: self._engine(self._session.adaptive_scan(**ADAPTIVE)))

    def resume(self) -> dict[str, Any]:
        return self._run(self._engine.resume)

    def abort(self) -> dict[str, Any]:
        return self._run(self._engine.abort)

    def resume_scan(self, uid: str) -> dict[str, Any]:
        return self._run(lambda: self._engine(self._session.resume_scan(uid)))

    def reset_alarm(self) -> dict[str, Any]:
        return self._run(self._line.shutter.reset_alarm)

    def open_shutter(self) -> dict[str, Any]:
        return self._run(self._line.shutter.set("open").wait)

    def image(self, uid: str) -> dict[str, Any]:
        """What the catalog has of an image."""
        from cxgi_bluesky.catalog import find_run, read_whole_scan
        from cxgi_bluesky.measurement.measurement import Measurement

        whole = read_whole_scan(self._session.catalog, find_run(self._session.catalog, uid))
        return {
            "uids": whole.uids,
            "patterns": Measurement.from_exposures(whole).pattern_index.tolist(),
            "buckets": {str(k): exposure.bucket for k, exposure in whole.streams["primary"].items()},
            "figures": whole.figures,
        }

    def _run(self, work: Any) -> dict[str, Any]:
        try:
            result = work()
            answer = {"result": list(result) if isinstance(result, tuple) else None, "error": ""}
        except Exception as error:
            answer = {"result": None, "error": f"{type(error).__name__}: {error}"}
        return {**answer, "state": str(self._engine.state)}


def main() -> None:
    words = Words(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    for line in sys.stdin:
        word, *arguments = line.split()
        print(json.dumps(getattr(words, word)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
