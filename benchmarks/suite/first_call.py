"""Time of the first image of a new process: imports, weights and compiled loops with it.

``python -m benchmarks.suite.first_call METHOD SIZE COUNT [OPTIONS]`` prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.suite.child import ask_child
from benchmarks.suite.memory import camera_measurement
from cxgi_bluesky.reconstruction.api import reconstruct


def first_call(method: str, size: int, count: int, options: Mapping[str, Any] | None = None) -> float:
    """Wall-clock time (ms) of the first `reconstruct` in a process that has made its measurement already.

    Raises
    ------
    CxgiError
        If the method cannot make this image, or the process fails.
    """
    arguments = [method, str(size), str(count), json.dumps(dict(options or {}))]
    return ask_child(__name__, arguments, f"first call of {method} at size {size}")["ms"]


def main() -> None:
    """Measure in this process; the arguments are those of `first_call`."""
    method, size, count, options = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    measurement = camera_measurement(size, count)
    started = time.perf_counter()
    reconstruct(measurement, method=method, **options)
    print(json.dumps({"ms": (time.perf_counter() - started) * 1e3}))


if __name__ == "__main__":
    main()
