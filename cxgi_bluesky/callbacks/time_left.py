"""How long a scan will go on: the exposures that it has yet to make, each as long as its like have taken."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from itertools import chain
from statistics import fmean, median
from typing import Any

from ..measurement.documents import Row, cxgi_block

LIGHT = ("primary", "open", "validation")  # streams of what is exposed while patterns are measured
RECENT = 256  # exposures of a kind that tell how long the others take: ways may grow longer during a scan
PAUSE = 20.0  # so many times as long as usual: the scan has waited for somebody, or for beam

Step = tuple[str, str]  # streams of two exposures that follow one another


class TimeLeft:
    """Estimate the rest of a scan from its documents.

    An exposure takes as long as those of its kind have taken so far in this scan: its own time, and the way to its
    tile. The way depends on where the stage comes from, so the all-open tile and validation patterns count apart from
    a pattern that follows a pattern. Pauses are left out.

    Parameters
    ----------
    start : mapping
        Start document of a scan.
    """

    def __init__(self, start: Mapping[str, Any]) -> None:
        block = cxgi_block(start)
        self._index = str(_mapping(block.get("fields")).get("pattern_index"))
        arguments = _mapping(start.get("plan_args"))
        total = start.get("num_points") or _mapping(block.get("pattern_set")).get("count")
        self.total = total if isinstance(total, int) else None
        exposure_s = block.get("exposure_s")
        self._exposure_s = float(exposure_s) if isinstance(exposure_s, int | float) else 0.0
        self._open_every, self._open_around = _count(arguments, "open_every"), _count(arguments, "open_exposures")
        drawn = [] if block.get("resumes") else _mapping(block.get("validation")).get("pattern_index", [])
        self._validation, self._validated = len(set(drawn)), set[Any]()
        self._measured = set[Any]()
        self._last: Row | None = None
        self._opened = 0  # exposures of the open tile since the last pattern
        self._took: dict[Step, deque[float]] = {}

    @property
    def done(self) -> int:
        """Patterns that were exposed."""
        return len(self._measured)

    def take(self, row: Row) -> None:
        """Take an event of the scan."""
        if row.stream not in LIGHT:
            return
        if self._last is not None:
            step = (self._last.stream, row.stream)
            self._took.setdefault(step, deque(maxlen=RECENT)).append(row.time - self._last.time)
        self._last = row
        self._opened = self._opened + 1 if row.stream == "open" else 0
        known = {"primary": self._measured, "validation": self._validated}.get(row.stream)
        if known is not None:
            known.add(row.data.get(self._index))

    def seconds(self) -> float | None:
        """Estimate how long the scan will go on (s), None while nothing is known."""
        counts = self._steps_left()
        if counts is None or not self._took:
            return None
        return sum(count * self._usual_s(step) for step, count in counts.items())

    def open_seconds(self) -> float | None:
        """Say how much of it is exposure (s)."""
        counts = self._steps_left()
        return None if counts is None else sum(counts.values()) * self._exposure_s

    def _steps_left(self) -> dict[Step, int] | None:
        """Count the exposures that are left, by their kind and that of the one before."""
        if self.total is None or self._last is None:
            return None
        done, now = self.done, self._last.stream
        patterns = max(0, self.total - done)
        every = self._open_every
        visits = (self.total - 1) // every - max(0, done - 1) // every if every and patterns else 0
        if visits and now == "open" and done and done % every == 0:
            visits -= 1  # the one that is due has been made
        validation = max(0, self._validation - len(self._validated)) if patterns else 0
        begun = 0 if done and patterns else min(self._opened, self._open_around)
        around = self._open_around * (1 + (not done)) - begun
        ends = int(bool(self._open_around) and (patterns > 0 or now != "open"))
        from_open = min(patterns, visits + (now == "open"))
        from_validation = min(patterns - from_open, validation + (now == "validation"))
        return {
            ("primary", "primary"): patterns - from_open - from_validation,
            ("open", "primary"): from_open,
            ("validation", "primary"): from_validation,
            ("primary", "open"): visits + ends,
            ("open", "open"): max(0, around - ends),
            ("primary", "validation"): validation,
        }

    def _usual_s(self, step: Step) -> float:
        """Time of a step: of its like, else of the way back, else of all that were made."""
        known = self._took.get(step) or self._took.get(step[::-1])
        took = list(known or chain.from_iterable(self._took.values()))
        longest = PAUSE * median(took)
        return fmean([seconds for seconds in took if seconds <= longest] or took)


def format_duration(seconds: float) -> str:
    """Format a time for people: 2 h 5 min, 7 min 30 s, 12 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _mapping(value: Any) -> Mapping[str, Any]:
    """A mapping of a document; empty where another program has stored something else there."""
    return value if isinstance(value, Mapping) else {}


def _count(arguments: Mapping[str, Any], name: str) -> int:
    value = arguments.get(name)
    return value if isinstance(value, int) and math.isfinite(value) and value > 0 else 0
