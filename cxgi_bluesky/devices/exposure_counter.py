"""Soft devices that plans make for themselves: what a run has cost the sample, and what it has chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bluesky.protocols import Configurable
from ophyd import Component, Device, Kind, Signal
from ophyd.signal import AttributeSignal

from .base import Configured, Settings
from .protocols import BeamShutter

NAME = "exposure"  # of the device in a run: data keys exposure_open_s, exposure_openings, ...


class ExposureFigures(Configured, Device):
    """Seconds open, openings and repeats of one run; a soft device that a plan makes for itself.

    The shutter counts, events do not: an exposure that was interrupted and repeated has cost both. It is an
    exposure, not a dose, until someone calibrates it.

    Parameters
    ----------
    shutter : BeamShutter
    max_repeats : int, optional
    max_open_s : float, optional
        Limits of the run, for its configuration.

    Attributes
    ----------
    open_s, openings : since `begin`.
    repeats : exposures that failed a check and were made again.
    moves_repeated : moves that ended in the wrong place and were made again, before anything was exposed.
    unread : devices that no event reads; their settings stand with these figures.
    fault : why the last exposure failed; stored in the stream ``failed`` alone.
    """

    open_s = Component(AttributeSignal, attr="_open_s", kind=Kind.normal)
    openings = Component(AttributeSignal, attr="_openings", kind=Kind.normal)
    repeats = Component(AttributeSignal, attr="repeated", kind=Kind.normal)
    moves_repeated = Component(AttributeSignal, attr="moved_again", kind=Kind.normal)
    fault = Component(Signal, value="", kind=Kind.omitted)

    def __init__(
        self,
        shutter: BeamShutter,
        *,
        max_repeats: int | None = None,
        max_open_s: float | None = None,
        name: str = NAME,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.unread: list[Any] = []
        self._limits: Settings = {"max_repeats": (max_repeats, ""), "max_open_s": (max_open_s, "s")}
        self._shutter = shutter
        self.begin()

    def settings(self) -> Settings:
        """Limits of the run."""
        return self._limits

    def list_configured_parts(self) -> Iterator[Any]:
        """Devices of the run that no event reads: the shutter, and what moves the object."""
        yield from (part for part in (self._shutter, *self.unread) if isinstance(part, Configurable))

    def begin(self) -> None:
        """Count from now on."""
        self._open_s_before = float(self._shutter.open_s.get())
        self._openings_before = int(self._shutter.openings.get())
        self.repeated = self.moved_again = 0
        self.fault.put("")

    @property
    def _open_s(self) -> float:
        return float(self._shutter.open_s.get()) - self._open_s_before

    @property
    def _openings(self) -> int:
        return int(self._shutter.openings.get()) - self._openings_before

    def describe(self) -> dict[str, Any]:
        """Descriptions with units and exact types."""
        keys = super().describe()
        for signal in (self.openings, self.repeats, self.moves_repeated):
            keys[signal.name] |= {"dtype": "integer", "dtype_numpy": "<i8", "units": ""}
        keys[self.open_s.name] |= {"dtype": "number", "dtype_numpy": "<f8", "units": "s", "precision": 3}
        return keys


BATCH_NAME = "batch"  # of the device in a run: data keys batch_number, batch_wanted, ...


class BatchRecord(Device):
    """One batch of chosen patterns; a soft device that a plan makes for itself.

    Attributes
    ----------
    number : 1 for the first batch after the start set.
    patterns : how many were chosen.
    image_patterns : from how many the image was made by which they were chosen; 0: there was none yet.
    travel_mm : way of the stage along the tiles of the batch.
    wanted : validation patterns that the rule has chosen too, for the first time: their indices, with blanks
        in between.
    """

    number = Component(Signal, value=0, kind=Kind.normal)
    patterns = Component(Signal, value=0, kind=Kind.normal)
    image_patterns = Component(Signal, value=0, kind=Kind.normal)
    travel_mm = Component(Signal, value=0.0, kind=Kind.normal)
    wanted = Component(Signal, value="", kind=Kind.normal)

    def __init__(self, *, name: str = BATCH_NAME, **kwargs: Any) -> None:
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
