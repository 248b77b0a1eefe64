"""What a test does with an IOC of its own, in a process of its own: libca asks the addresses that it began with.

Run as ``python -m tests.ioc.devices.children WHAT FILE``; prints one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests import warm
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]


def in_child(what: str, ioc: Any, file: Path) -> dict[str, Any]:
    """Result of a function here, with the IOC's environment."""
    environment = {**os.environ, **ioc.environment, "PYTHONPATH": str(ROOT), "IOC_PID": str(ioc.process.pid)}
    words = [sys.executable, "-m", "tests.ioc.devices.children", what, str(file)]
    run = warm.run(words, env=environment)
    assert run.returncode == 0, f"{run.returncode}: {run.stderr}"
    return json.loads(run.stdout.splitlines()[-1])


def _engine() -> tuple[Any, list[Any]]:
    from bluesky import RunEngine

    documents: list[Any] = []
    engine = RunEngine({})
    engine.subscribe(lambda name, document: documents.append((name, document)))
    return engine, documents


def picture(line: Any, patterns: int = 24) -> dict[str, Any]:
    """A scan, and its image."""
    from cxgi_bluesky.masks.pattern_set import PatternSet
    from cxgi_bluesky.measurement.exposures import Exposures
    from cxgi_bluesky.measurement.measurement import Measurement
    from cxgi_bluesky.reconstruction.api import reconstruct

    from .conftest import scan

    engine, documents = _engine()
    engine(scan(line, PatternSet(8, patterns)))
    measured = Exposures.from_documents(documents)
    result = reconstruct(Measurement.from_exposures(measured), method="inverse")
    return {
        "image": result.image.tolist(),
        "scale": result.scale,
        "streams": {name: len(stream) for name, stream in measured.streams.items()},
        "openings": line.shutter.openings.get(),
    }


def aligned(line: Any) -> dict[str, Any]:
    """The plate's alignment by its fiducials, and an image with the board as it lies."""
    from dataclasses import asdict

    from cxgi_bluesky.analysis.board_alignment.run import alignment_from_run
    from cxgi_bluesky.plans import align_board

    engine, documents = _engine()
    options = {"board": line.board, "exposure_s": 1.0, "points": 4, "object_stage": line.object_stage}
    engine(align_board(line.stage, line.shutter, line.diode, **options))
    fit = alignment_from_run(documents)
    line.stage.board = fit.aligned_board
    return {
        "alignment": asdict(fit.alignment),
        "tile_sigma_um": fit.tile_sigma_um,
        "exposures": fit.exposures,
        "object": line.object_stage.state.get(),
        **picture(line, 64),
    }


def killed(line: Any) -> dict[str, Any]:
    """The IOC dies in a scan, with the shutter open in half of all cases."""
    from cxgi_bluesky.devices.shutter import ShutterError
    from cxgi_bluesky.masks.pattern_set import PatternSet

    from .conftest import scan

    engine, documents = _engine()

    def kill(name: str, document: Any) -> None:
        if name == "event" and document["seq_num"] == 3:
            os.kill(int(os.environ["IOC_PID"]), signal.SIGKILL)

    engine.subscribe(kill)
    error, refused = "", ""
    try:
        engine(scan(line, PatternSet(32, 8), object_stage=None))
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    try:
        line.shutter.set("open")
    except ShutterError as raised:
        refused = str(raised)
    stop = [document for name, document in documents if name == "stop"]
    return {"error": error, "refused": refused, "ended": stop[0]["exit_status"]}


def silent(line: Any) -> dict[str, Any]:
    """The IOC stops answering with the shutter open, and comes back."""
    errors = {}
    line.stage.tile.set(0).wait(timeout=PATIENCE_S)
    line.shutter.set("open").wait(timeout=PATIENCE_S)
    os.kill(int(os.environ["IOC_PID"]), signal.SIGSTOP)
    try:
        for name, action in {
            "close": line.shutter.close,
            "move": lambda: line.stage.tile.set(40).wait(timeout=PATIENCE_S),
        }.items():
            try:
                action()
            except Exception as raised:
                errors[name] = f"{type(raised).__name__}: {raised}"
    finally:
        os.kill(int(os.environ["IOC_PID"]), signal.SIGCONT)
    line.shutter.close()
    line.shutter.reset_alarm()
    return {**errors, "state": line.shutter.state.get()}


if __name__ == "__main__":
    from cxgi_bluesky.devices.config.load import load_beamline

    function = {"picture": picture, "aligned": aligned, "killed": killed, "silent": silent}[sys.argv[1]]
    print(json.dumps(function(load_beamline(sys.argv[2]))))
