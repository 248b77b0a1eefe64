"""Peak memory of a reconstruction, taken in a process of its own.

``python -m benchmarks.suite.memory METHOD SIZE COUNT [OPTIONS]`` prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.suite.child import ask_child
from benchmarks.suite.workload import measure, photograph
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct

_FREED_IS_GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc: else growth hides in memory freed before


def peak_memory(method: str, size: int, count: int, options: Mapping[str, Any] | None = None) -> dict[str, float]:
    """Growth of the resident memory during one reconstruction, and the process's peak (MB).

    Raises
    ------
    CxgiError
        If the method cannot make this image, or the process fails.
    """
    arguments = [method, str(size), str(count), json.dumps(dict(options or {}))]
    return ask_child(__name__, arguments, f"memory of {method} at size {size}", _FREED_IS_GIVEN_BACK)


def camera_measurement(size: int, count: int) -> Measurement:
    """ "camera" measured with the first `count` patterns of the default order at 30 dB."""
    return measure(photograph("camera", size), PatternSet(size, count), snr_db=30.0, seed=0)


def main() -> None:
    """Measure in this process; the arguments are those of `peak_memory`."""
    method, size, count, options = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    with suppress(CxgiError):  # imports and weights are no part of the growth
        reconstruct(camera_measurement(32, 192), method=method, **options)
    measurement = camera_measurement(size, count)
    before = _begin()
    reconstruct(measurement, method=method, **options)
    after = _peak_mb()
    print(json.dumps({"growth_mb": max(0.0, after - before), "peak_mb": after}))


def _begin() -> float:
    """Forget the peak so far where the system can (Linux); the memory (MB) that counts as the start."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_mb()


def _peak_mb() -> float:
    """Highest resident memory (MB) since `_begin`, or since the process began."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        import resource

        unit = 1024**2 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main()
