"""The demonstration over Channel Access: an IOC, a beamline file, a scan, and soft devices beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from .._files.atomic_write import whole_file
from ..devices.config import example_path
from ..errors import CxgiError
from ..masks.board import MaskBoard
from .asked import Asked
from .ioc_process import DemoIoc, leave_channel_access

EXAMPLES = {"generic": "ioc", "keithley": "keithley", "tetramm": "tetramm", "scaler": "scaler"}
OF_THE_BOARD = ("limits_mm", "in_position_um")  # keys of the stage that do not fit another board
NUMBERS_FILE = "demo.json"
DISAGREES = 1  # exit code


def run_epics_demo(asked: Asked, detector: str, say: Any) -> dict[str, Any]:
    """Scan an IOC of its own through a beamline file, and hold everything against soft devices.

    To be called in a process that has not talked Channel Access before.

    Parameters
    ----------
    asked : Asked
    detector : {"generic", "keithley", "tetramm", "scaler"}
    say : callable

    Returns
    -------
    dict
        Plain values, also in ``demo.json`` of its folder; ``exit_code`` is 1 if images or counts do not agree.

    Raises
    ------
    CxgiError
        For an unknown detector, without the extra ``epics``, or after Ctrl-C; the shutter is closed and the IOC ended.
    """
    words = beamline_words(detector, asked.board)
    say(f"Starting an IOC of its own, prefix {words['prefix']}, as fast as it can ...")
    with DemoIoc(prefix=words["prefix"], board=asked.board, object_name=asked.object_name, seed=asked.seed) as ioc:
        ioc.tell_clients()
        numbers = {"detector": detector, **_scan_and_show(ioc, words, asked, say)}
    with whole_file(Path(asked.out) / NUMBERS_FILE) as file:
        file.write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    return numbers


def beamline_words(detector: str, board: str) -> dict[str, Any]:
    """Words of the package's example for a detector, with another board, and without what fits its own alone.

    Raises
    ------
    CxgiError
        For an unknown detector.
    """
    if detector not in EXAMPLES:
        raise CxgiError(f"detector {detector!r} is unknown: choose {', '.join(EXAMPLES)} or all")
    text = example_path(EXAMPLES[detector]).read_text(encoding="utf-8")
    words: dict[str, Any] = yaml.safe_load(text)
    words.pop("data", None)
    if board == words["board"]:
        return words
    stage = {key: value for key, value in words["stage"].items() if key not in OF_THE_BOARD}
    return {**words, "stage": stage, "board": str(Path(board).resolve()) if Path(board).is_file() else board}


def _scan_and_show(ioc: DemoIoc, words: dict[str, Any], asked: Asked, say: Any) -> dict[str, Any]:
    """What follows when the environment is right: from here on ophyd may be imported."""
    from .. import session
    from ..devices.simulated.beamline import simulated_beamline
    from ..session.shutdown import leave_to_itself
    from .agreement import agreement
    from .counting import Counts
    from .results import numbers_of, output_folder, show
    from .scan import scan

    folder = output_folder(asked.out)
    file = folder / "beamline.yml"
    file.write_text(yaml.safe_dump(words, sort_keys=False), encoding="utf-8")
    s = session.start(sim=False, beamline=file, data=asked.data)
    scanned = scan(s, asked.fraction, f"object {asked.object_name!r}, over Channel Access with {file}", say)
    leave_channel_access()
    leave_to_itself(s.shutter)
    counts = Counts.of(scanned, s.diode, ioc.end())
    assert isinstance(s.board, MaskBoard)
    truth = simulated_beamline(s.board, asked.object_name, seed=asked.seed).twin.truth
    shown = show(s, scanned, truth, folder, say)
    beside = agreement(scanned, asked, s.board, incident=s.object_stage is not None, say=say)
    say(str(beside))
    say(str(counts))
    return {
        **numbers_of(asked, s, scanned, shown, folder),
        "beside_soft_devices": beside.to_dict(),
        "counts": counts.to_dict(),
        "exit_code": 0 if beside.good and counts.equal else DISAGREES,
    }
