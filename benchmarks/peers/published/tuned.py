"""Schedules of PnP-FFDNet, one for each level of noise."""

from __future__ import annotations

from benchmarks.peers.published.pnp import Schedule

SCHEDULES: dict[float | None, Schedule] = {  # by the signal-to-noise ratio in dB; None: no noise
    None: Schedule(0.2, 0.01, 30, 1.0),
    30.0: Schedule(0.2, 0.02, 20, 1.0),
    20.0: Schedule(0.2, 0.05, 20, 1.0),
}
