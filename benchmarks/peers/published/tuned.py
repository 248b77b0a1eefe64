"""Schedules of PnP-FFDNet as `tune.py` prints them: by signal-to-noise ratio (dB; None: no noise), fraction, order."""

from __future__ import annotations

from benchmarks.peers.published.pnp import Schedule

SCHEDULES: dict[tuple[float | None, float, str], Schedule] = {
    (level, fraction, order): Schedule(0.3, 0.03, 40, 1.0, True)
    for order in ("zig-zag", "variable-density")
    for level, fraction in ((30.0, 0.1875), (20.0, 0.1875), (None, 0.1), (None, 0.25))
}
