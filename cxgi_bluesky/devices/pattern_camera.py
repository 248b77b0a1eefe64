"""PatternCamera: records reference patterns into an asset, one frame a trigger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from ophyd import Component, Device, Kind, Signal
from ophyd.status import Status, StatusBase

from ..errors import CxgiError
from ..masks.speckle_files import SpeckleWriter
from ..masks.speckle_set import SpeckleSet
from .configuration import Configured, Settings
from .diode import ExposureTime


class Counts(Signal):
    """Counts of a pixel."""

    def describe(self) -> dict[str, Any]:
        """Description with unit and precision."""
        keys = super().describe()
        keys[self.name] |= {"dtype": "number", "dtype_numpy": "<f8", "units": "counts", "precision": 1}
        return keys


class FrameNumber(Signal):
    """Where the next frame goes: a pattern_index, or -1 for a dark frame."""

    def describe(self) -> dict[str, Any]:
        """Description with exact type."""
        keys = super().describe()
        keys[self.name] |= {"dtype": "integer", "dtype_numpy": "<i8", "units": ""}
        return keys


class Asset(Device):
    """What was recorded, for the last event of a recording; its trigger ends the recording."""

    sha256 = Component(Signal, value="", kind=Kind.normal)
    path = Component(Signal, value="", kind=Kind.normal)
    frames = Component(FrameNumber, value=0, kind=Kind.normal)

    def trigger(self) -> StatusBase:
        """Close the camera's asset and give it its sha256."""
        status = Status(obj=self, timeout=120)
        try:
            self.parent.finish()
        except Exception as error:
            status.set_exception(error)
        else:
            status.set_finished()
        return status


class PatternCamera(Configured, Device):
    """Base of all cameras that record reference patterns; a subclass gives `_take` and `size`.

    ``record_to`` names the asset; then each trigger takes a frame and puts it there at `frame`
    (-1: a dark frame). A trigger of `asset` ends the recording, and so does `unstage`: a recording that was
    cut short keeps the frames before its first gap. Frames never go into events.

    Attributes
    ----------
    exposure_s : exposure time (s).
    frame : pattern_index of the next frame, -1 for a dark frame.
    mean, largest : of the last frame (counts).
    asset : sha256, path and number of frames of the last recording; empty before its end.
    """

    exposure_s = Component(ExposureTime, value=1.0, kind=Kind.normal)
    frame = Component(FrameNumber, value=-1, kind=Kind.normal)
    mean = Component(Counts, value=0.0, kind=Kind.hinted)
    largest = Component(Counts, value=0.0, kind=Kind.normal)
    asset = Component(Asset, kind=Kind.omitted)

    size: tuple[int, int]  # rows and columns of the frames
    full_well: float = 65535.0  # a pixel that counts so much is saturated
    dtype = "<u2"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._writer: SpeckleWriter | None = None
        self.recorded: SpeckleSet | None = None
        super().__init__(*args, **kwargs)

    def settings(self) -> Settings:
        """Of the frames."""
        return {"size": (self.size, "pixels"), "full_well": (self.full_well, "counts"), "dtype": (self.dtype, "")}

    def _take(self) -> StatusBase:
        """Start an exposure; at the end of the status `_last_frame` is there."""
        raise NotImplementedError

    def _last_frame(self) -> NDArray[Any]:
        raise NotImplementedError

    def record_to(self, path: str | Path, count: int, *, pixel_um: float, **words: Any) -> None:
        """Begin an asset of at most `count` frames; `words` are those of `SpeckleWriter`.

        Raises
        ------
        CxgiError
            As `SpeckleWriter`; nothing of an earlier recording changes.
        """
        self._writer = SpeckleWriter(
            path, count, self.size, pixel_um=pixel_um, dtype=self.dtype, full_well=self.full_well, **words
        )
        self.recorded = None
        for signal, value in ((self.asset.sha256, ""), (self.asset.path, ""), (self.asset.frames, 0)):
            signal.put(value)

    def configure(self, d: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """`record_to` as a message of a plan; `d` holds its arguments."""
        before = self.read_configuration()
        self.record_to(**d)
        return before, self.read_configuration()

    def trigger(self) -> StatusBase:
        """Take a frame and put it into the asset.

        The status fails with `CxgiError` when no recording was begun or the frame is saturated.
        """
        writer, frame = self._writer, int(self.frame.get())
        done = Status(obj=self, timeout=self.exposure_s.get() + 60)
        if writer is None:
            done.set_exception(CxgiError(f"{self.name} records nothing yet: call record_to first"))
            return done

        def store(taken: StatusBase) -> None:
            try:
                if not taken.success:
                    raise CxgiError(f"{self.name} took no frame {frame}: {taken.exception()}")
                self._store(writer, frame)
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_finished()

        self._take().add_callback(store)
        return done

    def _store(self, writer: SpeckleWriter, frame: int) -> None:
        counts = self._last_frame()
        self.mean.put(float(counts.mean()))
        self.largest.put(float(counts.max()))
        if frame < 0:
            writer.put_dark(counts)
        else:
            writer.put(frame, counts)

    def finish(self) -> None:
        """End the recording; afterwards `asset` and `recorded` tell what it is."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self.recorded = writer.finish()
        self.asset.sha256.put(self.recorded.sha256)
        self.asset.path.put(str(self.recorded.path))
        self.asset.frames.put(self.recorded.count)

    def unstage(self) -> list[object]:
        """Keep what was recorded so far, then unstage."""
        try:
            if self._writer is not None and self._writer.frames:
                self.finish()
            elif self._writer is not None:
                self._writer.abandon()
        finally:
            self._writer = None
            unstaged = super().unstage()
        return unstaged
