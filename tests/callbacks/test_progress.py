"""What a terminal shows while a scan has a bar on it and others write lines."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import textwrap
import time

import numpy as np

from cxgi_bluesky.callbacks import ScanProgress
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.reconstruction.result import Reconstruction
from tests import warm
from tests.conftest import ALONE, QUIET, small_board, small_scan

SCAN = """
    import logging
    from bluesky import RunEngine
    from bluesky.callbacks.best_effort import BestEffortCallback
    from cxgi_bluesky.callbacks import ScanProgress
    from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
    from tests.conftest import ALONE, QUIET, small_board, small_scan
    engine, table = RunEngine({}), BestEffortCallback()
    table.disable_plots()
    engine.subscribe(table)
    engine.subscribe(ScanProgress())
    engine.subscribe(lambda name, document: logging.warning("a warning"), "descriptor")
    line = simulated_beamline(small_board(), "CAS", parameters=QUIET)
    engine(small_scan(line, 24, **ALONE))
    print("after", end="")
"""


def shown(text):
    """The lines of a terminal that is wide enough: what is written later stands over what was there."""
    lines, place = [""], 0
    for character in text:
        if character == "\r":
            place = 0
        elif character == "\n":
            lines.append("")
        else:
            lines[-1] = lines[-1][:place] + character + lines[-1][place + 1 :]
            place += 1
    return [line.rstrip() for line in lines]


PAUSE = """
    from bluesky import RunEngine
    from bluesky.utils import RunEngineInterrupted
    from cxgi_bluesky.callbacks import ScanProgress
    from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
    from tests.conftest import ALONE, QUIET, small_board, small_scan
    from tests.plans.test_endings import interrupted
    engine = RunEngine({})
    engine.subscribe(ScanProgress(is_running=lambda: engine.state == "running"))
    line = simulated_beamline(small_board(), "CAS", parameters=QUIET)
    try:
        engine(interrupted(small_scan(line, 24, **ALONE), 200))
    except RunEngineInterrupted:
        print("paused")
        print("prompt> ", end="", flush=True)
        print("engine.resume()")
        engine.resume()
"""


def shown_at_a_terminal(program):
    """The lines that a terminal shows at the end of a program."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    with warm.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                text += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    lines = shown(text.decode())
    assert process.returncode == 0, lines
    return lines


def test_a_table_and_warnings_stand_above_the_bar():
    lines = shown_at_a_terminal(SCAN)
    rows = [line for line in lines if re.search(r"\|\s+\d+ \| \d\d:\d\d:", line)]
    assert len(rows) == 24
    assert all(re.fullmatch(r"\|.*\|", row) for row in rows)
    assert "WARNING:root:a warning" in lines
    (bar,) = [line for line in lines if "exp/s" in line]
    assert re.match(r"scan 1 \w{8}: 100%.*24/24.*, success]", bar)
    assert lines[-1] == "after"


def test_the_bar_of_a_paused_scan_leaves_the_line_to_the_prompt():
    lines = shown_at_a_terminal(PAUSE)
    assert "prompt> engine.resume()" in lines
    assert re.match(r"scan 1 \w{8}: 100%.*24/24.*, success]", lines[-2])


def test_a_bar_says_when_all_is_exposed_and_its_time_is_that_of_the_scan(RE):
    text = io.StringIO()

    def store(name, document):  # as what stores a run, it comes before the bar
        if name == "stop":
            time.sleep(1.2)

    RE.subscribe(store)
    RE.subscribe(ScanProgress(text))
    RE(small_scan(simulated_beamline(small_board(), "CAS", parameters=QUIET), 24, open_every=8))
    *_, stored, ended = re.split(r"[\r\n]+", text.getvalue().strip())
    assert "24/24" in stored
    assert "all exposed, storing" in stored
    assert "24/24 [00:00<00:00" in ended


def test_the_psnr_of_a_scans_own_image_stands_in_its_bar(RE):
    text = io.StringIO()
    bar = ScanProgress(text)
    known = {"psnr_db": 21.4, "psnr_low_db": 19.0, "psnr_high_db": 23.0}

    def show(name, document):
        for uid, quality in (("another", {**known, "psnr_db": 9.0}), (document["run_start"], known)):
            source = {"raw_uids": [uid]}
            bar.show(Reconstruction(np.zeros((8, 8)), "relative", "tv", {}, 0.0, 24, quality=quality, source=source))

    RE.subscribe(bar)
    RE.subscribe(show, "descriptor")
    RE(small_scan(simulated_beamline(small_board(), "CAS", parameters=QUIET), 24, **ALONE))
    assert "success, PSNR 21.4 dB (19.0 to 23.0, 68 %)" in text.getvalue()
