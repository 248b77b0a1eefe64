"""The demonstration over Channel Access with each detector in turn, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import CxgiError
from .asked import Asked
from .over_epics import DISAGREES, EXAMPLES, NUMBERS_FILE

WHOLE, SHARE = "generic", 0.25  # the others read more PVs an exposure: a quarter of the patterns shows the same


def run_each_detector(asked: Asked, *, quiet: bool, say: Any) -> dict[str, Any]:
    """``cxgi demo --epics`` for every detector, with pictures in a folder of its own each.

    Parameters
    ----------
    asked : Asked
        Its fraction is for the first detector.
    quiet : bool
        Nothing is printed.
    say : callable

    Returns
    -------
    dict
        Numbers by detector in ``detectors``, and ``exit_code`` 1 if one of them does not agree.

    Raises
    ------
    CxgiError
        If one of them fails or is interrupted; it has said why.
    """
    told = {}
    for detector in EXAMPLES:
        folder = Path(asked.out) / detector
        share = asked.fraction if detector == WHOLE else SHARE * asked.fraction
        fewer = "" if detector == WHOLE else f", with {SHARE:.0%} of the patterns asked for: it takes longer"
        say(f"\n=== detector {detector}{fewer} ===")
        here = replace(asked, fraction=share, out=folder)
        _run([*_as_words(here), "--detector", detector], quiet=quiet)
        told[detector] = json.loads((folder / NUMBERS_FILE).read_text(encoding="utf-8"))
    say(_table(told))
    return {"detectors": told, "exit_code": max(numbers["exit_code"] for numbers in told.values())}


def _as_words(asked: Asked) -> list[str]:
    """On the command line."""
    options = {"--object": asked.object_name, "--board": asked.board, "--fraction": asked.fraction,
               "--seed": asked.seed, "--out": asked.out, "--data": asked.data}  # fmt: skip
    return [word for name, value in options.items() if value is not None for word in (name, str(value))]


def _run(words: list[str], *, quiet: bool) -> None:
    sys.stdout.flush()  # the child writes there too
    child = subprocess.Popen(
        [sys.executable, "-m", "cxgi_bluesky.cli", "demo", "--epics", *words],
        stdout=subprocess.DEVNULL if quiet else None,
    )
    while True:
        try:
            code = child.wait()
            break
        except KeyboardInterrupt:
            continue  # it got the same: it closes the shutter, and says what is left
    if code not in (0, DISAGREES):
        raise CxgiError("the demonstration ended there; what went wrong is told above")


def _table(told: dict[str, Any]) -> str:
    lines = ["", f"{'detector':<10} {'exposures':>9} {'counts':>9}  beside soft devices"]
    for detector, numbers in told.items():
        counts = "equal" if numbers["counts"]["equal"] else "NOT EQUAL"
        beside = numbers["beside_soft_devices"]
        lines.append(
            f"{detector:<10} {numbers['exposures']:>9} {counts:>9}  {beside['verdict']} "
            f"(chi2 {beside['chi2_per_bucket']:.2f}, two seeds {beside['chi2_per_bucket_of_two_seeds']:.2f})"
        )
    return "\n".join(lines)
