"""A soft area detector over the simulation, and the bucket detector made of it."""

from __future__ import annotations

from typing import Any

from ophyd import Component, Device, Signal
from ophyd.status import StatusBase

from ...simulation.beamline import BeamlineSimulation
from ...simulation.camera import Camera
from ..area_detector import AreaDetectorDiode
from .beamline import finish_after


class SimulatedCam(Device):
    """The part of a camera driver that a bucket needs."""

    acquire_time = Component(Signal, value=1.0)


class SimulatedStats(Device):
    """The part of a statistics plugin that a bucket needs."""

    total = Component(Signal, value=0.0)
    max_value = Component(Signal, value=0.0)
    array_counter = Component(Signal, value=0)


class SimulatedAreaDetector(Device):
    """Simulated camera instead of the diode; the last frame is `frame`, in counts."""

    cam = Component(SimulatedCam)
    stats = Component(SimulatedStats)

    def __init__(
        self, *args: Any, simulation: BeamlineSimulation, camera: Camera, time_scale: float = 0.0, **kwargs: Any
    ) -> None:
        self._simulation, self._camera, self._time_scale = simulation, camera, time_scale
        self.frame: Any = None
        self._acquisition = object()
        super().__init__(*args, **kwargs)

    def trigger(self) -> StatusBase:
        """Acquire one frame; one that was interrupted is forgotten."""
        self._acquisition = begun = object()

        def acquire() -> None:
            if begun is self._acquisition:
                self.frame = self._simulation.expose_frame(self._camera, self.cam.acquire_time.get())
                self.stats.total.put(float(self.frame.sum()))
                self.stats.max_value.put(float(self.frame.max()))
                self.stats.array_counter.put(self.stats.array_counter.get() + 1)

        return finish_after(self._time_scale * self.cam.acquire_time.get(), self, acquire)

    def stop(self, *, success: bool = False) -> None:
        """Forget the frame that is being taken."""
        self._acquisition = object()
        super().stop(success=success)


class SimulatedCCD(AreaDetectorDiode):
    """The simulated bucket as the total of a camera's frame; gain, noise, offset and saturation are taken as known.

    Parameters
    ----------
    simulation : BeamlineSimulation
    camera : Camera, optional
    time_scale : float
        Real seconds per simulated second of exposure.
    """

    def __init__(
        self,
        *args: Any,
        simulation: BeamlineSimulation,
        camera: Camera | None = None,
        time_scale: float = 0.0,
        **kwargs: Any,
    ) -> None:
        camera = camera or Camera()
        detector = SimulatedAreaDetector(
            name="ccd_detector", simulation=simulation, camera=camera, time_scale=time_scale
        )
        super().__init__(
            *args,
            detector=detector,
            background_per_pixel=camera.offset_counts,
            pixels=simulation.frame_pixels(camera),
            counts_per_photon=camera.counts_per_photon,
            read_noise_counts=camera.read_noise_counts,
            saturation_counts=camera.saturation_counts,
            **kwargs,
        )
