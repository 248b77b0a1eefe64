"""The demonstration over Channel Access with each detector in turn, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..errors import CxgiError
from .over_epics import EXAMPLES, NUMBERS_FILE


def run_each_detector(
    *,
    object_name: str,
    board: str,
    fraction: float,
    seed: int,
    out: str | Path,
    data: str | Path | None,
    quiet: bool,
    say: Any,
) -> dict[str, Any]:
    """``cxgi demo --epics`` for every detector, with pictures in a folder of its own each.

    Returns
    -------
    dict
        Numbers by detector.

    Raises
    ------
    CxgiError
        If one of them fails or is interrupted; it has said why.
    """
    told = {}
    for detector in EXAMPLES:
        folder = Path(out) / detector
        say(f"\n=== detector {detector} ===")
        options = {"--object": object_name, "--board": board, "--fraction": str(fraction), "--seed": str(seed)}
        options |= {"--detector": detector, "--out": str(folder), **({} if data is None else {"--data": str(data)})}
        _run([word for option in options.items() for word in option], quiet=quiet)
        told[detector] = json.loads((folder / NUMBERS_FILE).read_text(encoding="utf-8"))
    say(_table(told))
    return told


def _run(words: list[str], *, quiet: bool) -> None:
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
    if code:
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
