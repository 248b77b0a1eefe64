"""Schedules of PnP-FFDNet as `tune.py` prints them: by signal-to-noise ratio (dB; None: no noise), fraction, order."""

from __future__ import annotations

from benchmarks.peers.published.pnp import Schedule

SCHEDULES: dict[tuple[float | None, float, str], Schedule] = {
    (30.0, 0.1875, "zig-zag"): Schedule(first=0.05, last=0.05, iterations=40, data=1.0, dual=True),  # 34.91 dB
    (20.0, 0.1875, "zig-zag"): Schedule(first=0.1, last=0.12, iterations=40, data=1.0, dual=True),  # 32.42 dB
    (None, 0.1, "zig-zag"): Schedule(first=0.5, last=0.005, iterations=20, data=3.0, dual=True),  # 27.84 dB
    (None, 0.25, "zig-zag"): Schedule(first=0.5, last=0.05, iterations=20, data=10.0, dual=True),  # 32.23 dB
    (30.0, 0.1875, "variable-density"): Schedule(first=0.1, last=0.05, iterations=20, data=1.0, dual=True),  # 36.21 dB
    (20.0, 0.1875, "variable-density"): Schedule(first=0.2, last=0.12, iterations=40, data=1.0, dual=True),  # 32.62 dB
    (None, 0.1, "variable-density"): Schedule(first=0.1, last=0.08, iterations=20, data=3.0, dual=True),  # 28.85 dB
    (None, 0.25, "variable-density"): Schedule(first=0.05, last=0.05, iterations=40, data=1.0, dual=True),  # 33.73 dB
}
