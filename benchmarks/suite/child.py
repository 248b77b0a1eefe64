"""One number from a process of its own, whose memory and imports nothing else has touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from cxgi_bluesky.errors import CxgiError

_TIME_LIMIT_S = 600.0


def ask_child(
    module: str, arguments: list[str], what: str, environment: Mapping[str, str] | None = None
) -> dict[str, float]:
    """The JSON object that ``python -m module arguments`` prints.

    Raises
    ------
    CxgiError
        If the process fails or takes more than ten minutes; `what` says of what.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            capture_output=True,
            text=True,
            timeout=_TIME_LIMIT_S,
            check=False,
            env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise CxgiError(f"{what}: no answer after {_TIME_LIMIT_S:g} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CxgiError(f"{what} could not be measured: {last}")
    answer: dict[str, float] = json.loads(done.stdout)
    return answer
