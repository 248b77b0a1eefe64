"""Live images with what the data say of them: the verdict of patterns that were held back, and the uncertainty."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..measurement.exposures import Exposures
from ..measurement.measurement import Measurement
from ..measurement.speckle import SpeckleMeasurement
from ..reconstruction.cross_validation import reconstruct_and_check
from ..reconstruction.registry import find_method
from ..reconstruction.result import Reconstruction
from .live_reconstruction import LiveReconstruction, LiveSpeckleCorrelation

UNCERTAINTY_SHARE = 0.1  # of the time, at most, goes into the uncertainty of images that are not the last


class CheckedImages(LiveReconstruction):
    """Live images with their verdict, and now and then, and at the end of a scan, with their uncertainty. Advisory.

    Parameters
    ----------
    method : str
        Of `reconstruct`.
    **options
        Of `LiveReconstruction`.
    """

    def __init__(self, method: str, **options: Any) -> None:
        super().__init__(method, **options)
        self._scan_ended = False
        self._due = 0.0  # when the next uncertainty may be made

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        if name in ("start", "stop"):
            self._scan_ended = name == "stop"
        super().__call__(name, document)

    def _measurement(self, exposures: Exposures) -> Measurement | SpeckleMeasurement:
        return _note_time(super()._measurement(exposures), exposures)

    def _make_image(self, measurement: Measurement | SpeckleMeasurement, options: dict[str, Any]) -> Reconstruction:
        assert isinstance(measurement, Measurement)
        begun = time.monotonic()
        details = find_method(self.method).uncertainty is not None and (self._scan_ended or begun > self._due)
        image = reconstruct_and_check(measurement, method=self.method, details=details, **options)
        if details:
            now = time.monotonic()
            self._due = now + (now - begun) / UNCERTAINTY_SHARE
        return image


class TimedSpeckleImages(LiveSpeckleCorrelation):
    """Live images behind speckle, which have no verdict, and when their last exposure was. Advisory."""

    def _measurement(self, exposures: Exposures) -> SpeckleMeasurement:
        return _note_time(super()._measurement(exposures), exposures)


def _note_time(measurement: Any, exposures: Exposures) -> Any:
    """Note when the last exposure was that an image is made from (s since 1970)."""
    last = max((exposure.time for exposure in exposures.streams["primary"].values()), default=None)
    return replace(measurement, source={**measurement.source, "last_exposure_time": last})
