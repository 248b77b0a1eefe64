"""BatchRecord: what a scan that chooses its patterns has chosen, stored once a batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ophyd import Component, Device, Kind, Signal

NAME = "batch"  # of the device in a run: data keys batch_number, batch_wanted, ...


class BatchRecord(Device):
    """One batch of chosen patterns; a soft device that a plan makes for itself.

    Attributes
    ----------
    number : 1 for the first batch after the start set.
    patterns : how many were chosen.
    image_patterns : from how many the image was made by which they were chosen; 0: there was none yet.
    travel_mm : way of the stage along the tiles of the batch.
    wanted : validation patterns that the rule would have measured too, for the first time: their indices, with blanks
        in between.
    """

    number = Component(Signal, value=0, kind=Kind.normal)
    patterns = Component(Signal, value=0, kind=Kind.normal)
    image_patterns = Component(Signal, value=0, kind=Kind.normal)
    travel_mm = Component(Signal, value=0.0, kind=Kind.normal)
    wanted = Component(Signal, value="", kind=Kind.normal)

    def __init__(self, *, name: str = NAME, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def record(self, *, patterns: int, image_patterns: int, travel_mm: float, wanted: Iterable[int]) -> None:
        """Take the next batch.

        Parameters
        ----------
        patterns, image_patterns : int
        travel_mm : float
        wanted : iterable of int
        """
        self.number.put(self.number.get() + 1)
        self.patterns.put(patterns)
        self.image_patterns.put(image_patterns)
        self.travel_mm.put(float(travel_mm))
        self.wanted.put(" ".join(map(str, wanted)))

    def describe(self) -> dict[str, Any]:
        """Descriptions with units and exact types."""
        keys = super().describe()
        for signal in (self.number, self.patterns, self.image_patterns):
            keys[signal.name] |= {"dtype": "integer", "dtype_numpy": "<i8", "units": ""}
        keys[self.travel_mm.name] |= {"dtype": "number", "dtype_numpy": "<f8", "units": "mm", "precision": 3}
        return keys
