"""An area detector as a bucket detector: the total of each frame is the bucket."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from ophyd import Component, Kind, Signal
from ophyd.status import Status, StatusBase

from ..errors import CxgiError
from .configuration import Settings
from .diode import Diode

logger = logging.getLogger(__name__)

TIMEOUT_MARGIN_S = 20.0
LATE_S, POLL_S = 1.0, 0.01
LARGEST_TIME_ERROR = 0.01  # of the exposure time, between what was asked for and what the camera says


class Counts(Signal):
    """Counts of a camera."""

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
        With it, sigma is told: variance = counts_per_photon * bucket + pixels * read_noise_counts^2. Without it sigma
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
            raise CxgiError("background_per_pixel and read_noise_counts need pixels: the number of pixels in the total")
        if not (math.isfinite(background_per_pixel) and 0 <= read_noise_counts < math.inf):
            raise CxgiError(f"background {background_per_pixel} or read-out noise {read_noise_counts} is impossible")
        if counts_per_photon is not None and not 0 < counts_per_photon < math.inf:
            raise CxgiError(f"counts_per_photon {counts_per_photon} is not positive: leave it out if it is not known")
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
        if abs(taken_s - exposure_s) > LARGEST_TIME_ERROR * exposure_s:
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
