"""An area detector as a bucket detector: the total of each frame is the bucket."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from ophyd import Component, Device, Kind, Signal
from ophyd.status import Status, StatusBase

from ..errors import ScanError
from ..masks.speckle_files import SpeckleWriter
from ..masks.speckle_set import SpeckleSet
from .base import Configured, Settings
from .diode import Diode, ExposureTime

logger = logging.getLogger(__name__)

TIMEOUT_MARGIN_S = 20.0
LATE_S, POLL_S = 1.0, 0.01
MAX_TIME_ERROR = 0.01  # of the exposure time, between what was asked for and what the camera reports


class Counts(Signal):
    """Counts of a camera, or of a pixel of it."""

    def describe(self) -> dict[str, Any]:
        """Description with unit and precision."""
        keys = super().describe()
        keys[self.name] |= {"dtype": "number", "dtype_numpy": "<f8", "units": "counts", "precision": 1}
        return keys


class AreaDetectorDiode(Diode):
    """A `Diode` whose bucket is the total of an area detector's frame, in counts.

    It wraps a detector of ophyd's areadetector kind and uses of it ``trigger()``, ``stop()``, ``cam.acquire_time``
    and ``stats.total``; where there are, also ``stats.array_counter`` (it must count each frame, or the total is an
    old one), ``stats.max_value`` (saturation) and ``cam.acquire`` (0 ends an acquisition, which ``stop()`` of
    ophyd's detectors does not). The statistics plugin must be enabled, compute statistics and
    block (``stage_sigs`` of ``stats``: ``enable`` 1, ``compute_statistics`` "Yes", ``blocking_callbacks`` "Yes"), so
    that the total is there when the acquisition is done; one that does not block is waited for, for `late_s`, where it
    counts frames.

    Parameters
    ----------
    detector : ophyd Device
    background_per_pixel : float
        Counts of a pixel without light, taken off the total.
    pixels : int, optional
        Pixels in the total: needed with a background or a read-out noise.
    counts_per_photon : float, optional
        With it, sigma is known: variance = counts_per_photon * bucket + pixels * read_noise_counts^2. Without it sigma
        is NaN, and the noise is estimated from the open exposures.
    read_noise_counts : float
        Rms of a pixel.
    saturation_counts : float, optional
        A frame with a pixel so bright has the bucket NaN, which leaves the exposure out.
    late_s : float
        Longest wait for the plugin's count of frames after the acquisition (s).

    Attributes
    ----------
    current, sigma : bucket of the last exposure, summed over frame and exposure time, and its sigma (counts).
    exposure_s : exposure time (s).

    Raises
    ------
    CxgiError
        For an impossible number, or if `pixels` is missing.
    """

    current = Component(Counts, value=0.0, kind=Kind.hinted)
    sigma = Component(Counts, value=0.0, kind=Kind.normal)

    def __init__(
        self,
        prefix: str = "",
        *,
        detector: Any,
        background_per_pixel: float = 0.0,
        pixels: int | None = None,
        counts_per_photon: float | None = None,
        read_noise_counts: float = 0.0,
        saturation_counts: float | None = None,
        late_s: float = LATE_S,
        **kwargs: Any,
    ) -> None:
        if (background_per_pixel or read_noise_counts) and not pixels:
            raise ScanError("background_per_pixel and read_noise_counts need pixels: the number of pixels in the total")
        if not (math.isfinite(background_per_pixel) and 0 <= read_noise_counts < math.inf):
            raise ScanError(f"background {background_per_pixel} or read-out noise {read_noise_counts} is impossible")
        if counts_per_photon is not None and not 0 < counts_per_photon < math.inf:
            raise ScanError(f"counts_per_photon {counts_per_photon} is not positive: leave it out if it is not known")
        self.detector = detector
        self._background = background_per_pixel * (pixels or 0)
        self._gain = counts_per_photon
        self._read_variance = read_noise_counts**2 * (pixels or 0)
        self._saturation, self._late_s = saturation_counts, late_s
        self._exposure = object()
        self._acquisition: StatusBase | None = None
        super().__init__(prefix, **kwargs)

    def settings(self) -> Settings:
        """What the bucket and its sigma are worked out with."""
        return {
            **super().settings(),
            "background_counts": (self._background, "counts"),
            "counts_per_photon": (self._gain, "counts"),
            "read_noise_counts": (math.sqrt(self._read_variance), "counts"),
            "saturation_counts": (self._saturation, "counts"),
            "late_s": (self._late_s, "s"),
        }

    def stage(self) -> list[object]:
        """Stage the detector, then this."""
        self.detector.stage()
        return super().stage()

    def unstage(self) -> list[object]:
        """Unstage this and the detector."""
        try:
            unstaged = super().unstage()
        finally:
            self.detector.unstage()
        return unstaged

    def stop(self, *, success: bool = False) -> None:
        """Stop the acquisition; its frame, if one still comes, is not taken."""
        self._exposure = object()
        try:
            self.detector.stop(success=success)
        finally:
            self._end_acquisition()
            super().stop(success=success)

    def pause(self) -> None:
        """Stop the acquisition, as the plan repeats the exposure when it is resumed."""
        self.stop()
        super().pause()

    def trigger(self) -> StatusBase:
        """Acquire one frame and take its total.

        An earlier acquisition that has not ended is stopped, and this one begins when that one is over: a detector
        that is triggered twice hands out the frame that it was taking already.
        """
        status = Status(obj=self, timeout=self.exposure_s.get() + TIMEOUT_MARGIN_S)
        earlier = self._acquisition
        if earlier is None or earlier.done:
            self._exposure = begun = object()
            self._begin(status, begun)
            return status
        self.stop()
        self._exposure = begun = object()
        earlier.add_callback(lambda _: self._begin_late(status, begun))
        return status

    def _end_acquisition(self) -> None:
        acquire = getattr(self.detector.cam, "acquire", None)
        if acquire is not None and self._acquisition is not None and not self._acquisition.done:
            acquire.put(0)

    def _begin_late(self, status: Status, begun: object) -> None:
        """`_begin` in a callback, where nobody would see an error."""
        try:
            if begun is self._exposure:
                self._begin(status, begun)
            else:
                status.set_finished()
        except Exception as error:
            status.set_exception(error)

    def _begin(self, status: Status, begun: object) -> None:
        exposure_s = self.exposure_s.get()
        frames_before = self._frames()
        self.detector.cam.acquire_time.put(exposure_s)

        def done(acquired: StatusBase) -> None:
            if status.done:
                return
            try:
                error = acquired.exception(timeout=0)
                if error is not None:
                    raise error
                if begun is self._exposure:
                    self._check_frame(exposure_s, frames_before)
                    self._take_total()
            except Exception as error:
                status.set_exception(error)
            else:
                status.set_finished()

        self._acquisition = self.detector.trigger()
        self._acquisition.add_callback(done)

    def _frames(self) -> int | None:
        counter = getattr(self.detector.stats, "array_counter", None)
        return None if counter is None else int(counter.get())

    def _check_frame(self, exposure_s: float, frames_before: int | None) -> None:
        if frames_before is not None:
            self._wait_for_frame(frames_before)
        taken_s = self.detector.cam.acquire_time.get()
        if abs(taken_s - exposure_s) > MAX_TIME_ERROR * exposure_s:
            raise RuntimeError(
                f"{self.detector.name} exposed for {taken_s:g} s instead of {exposure_s:g} s: check what it allows"
            )

    def _wait_for_frame(self, frames_before: int) -> None:
        if self._frames() != frames_before:
            return
        deadline = time.monotonic() + self._late_s
        while self._frames() == frames_before:
            if time.monotonic() >= deadline:
                raise RuntimeError(
                    f"{self.detector.name}.stats has seen no new frame within late_s {self._late_s:g} s: enable the "
                    "plugin and its blocking callbacks, the total would be that of an earlier exposure"
                )
            time.sleep(POLL_S)
        time.sleep(POLL_S)  # the total is published after the count

    def _take_total(self) -> None:
        bucket = float(self.detector.stats.total.get()) - self._background
        brightest = getattr(self.detector.stats, "max_value", None)
        if self._saturation is not None and brightest is not None and brightest.get() >= self._saturation:
            logger.warning("%s is saturated (%g counts): exposure left out", self.detector.name, brightest.get())
            bucket = math.nan
        self.current.put(bucket)
        self.sigma.put(self._sigma_of(bucket))

    def _sigma_of(self, bucket: float) -> float:
        if self._gain is None:
            return math.nan
        return math.sqrt(self._gain * max(bucket, 0.0) + self._read_variance) if math.isfinite(bucket) else math.nan


# ---------------------------------------------------------------- pattern camera


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


class PatternCamera(Configured, Device, ABC):
    """Base of all cameras that record reference patterns; a subclass gives `_take`, `_last_frame` and `size`.

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

    @abstractmethod
    def _take(self) -> StatusBase:
        """Start an exposure; at the end of the status `_last_frame` is there."""

    @abstractmethod
    def _last_frame(self) -> NDArray[Any]: ...

    def record_to(self, path: str | Path, count: int, *, pixel_um: float, **options: Any) -> None:
        """Begin an asset.

        Parameters
        ----------
        path : path or str
            A new file; an asset is never overwritten.
        count : int
            Frames at most.
        pixel_um : float
            Pixel pitch at the object (um).
        **options
            Of `SpeckleWriter`: `grain_um`, `board_sha256`, `source`.

        Raises
        ------
        CxgiError
            As `SpeckleWriter`; nothing of an earlier recording changes.
        """
        self._writer = SpeckleWriter(
            path, count, self.size, pixel_um=pixel_um, dtype=self.dtype, full_well=self.full_well, **options
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
            done.set_exception(ScanError(f"{self.name} records nothing yet: call record_to first"))
            return done

        def store(taken: StatusBase) -> None:
            try:
                if not taken.success:
                    raise ScanError(f"{self.name} took no frame {frame}: {taken.exception()}")
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
        """End the recording; afterwards `asset` and `recorded` describe it."""
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
