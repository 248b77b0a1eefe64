"""Diode: the bucket detector, one current per exposure."""

from __future__ import annotations

from typing import Any

from ophyd import Component, Device, Kind, Signal

from ..errors import ScanError
from .base import Configured, Named, Settings


class ExposureTime(Signal):
    """Exposure time in s; refuses what is no positive number."""

    def check_value(self, value: float, **kwargs: Any) -> None:
        """Raise `CxgiError` for an impossible time.

        Parameters
        ----------
        value : float
            Exposure time (s).
        **kwargs
            Of ophyd; not used.
        """
        if not 0 < value < float("inf"):
            raise ScanError(f"exposure time {value} s is no positive number")

    def describe(self) -> dict[str, Any]:
        """Description with unit and precision."""
        keys = super().describe()
        keys[self.name] |= {"dtype": "number", "dtype_numpy": "<f8", "units": "s", "precision": 3}
        return keys


class Current(Signal):
    """A current in pA."""

    def describe(self) -> dict[str, Any]:
        """Description with unit and precision."""
        keys = super().describe()
        keys[self.name] |= {"dtype": "number", "dtype_numpy": "<f8", "units": "pA", "precision": 4}
        return keys


class Diode(Named, Configured, Device):
    """Base of all bucket detectors: trigger it, then read the mean current and its sigma.

    Attributes
    ----------
    current : bucket of the last exposure, averaged over it (pA).
    sigma : one standard deviation of that mean (pA), from the readings within the exposure.
    exposure_s : exposure time (s).
    i0_name : data key of the incident intensity during the exposure; None without a monitor.
    fault : what the last exposure lacks, as a text, if its values have not come in time; else "".
    straggler : to be triggered and waited for after that, where such values may still come; else None.
    """

    kind_labels = frozenset({"detectors"})

    i0_name: str | None = None
    fault: str = ""
    straggler: Any = None
    current = Component(Current, value=0.0, kind=Kind.hinted)
    sigma = Component(Current, value=0.0, kind=Kind.normal)
    exposure_s = Component(ExposureTime, value=1.0, kind=Kind.normal)

    @property
    def bucket_name(self) -> str:
        """Data key of the bucket."""
        return str(self.current.name)

    @property
    def sigma_name(self) -> str:
        """Data key of its sigma."""
        return str(self.sigma.name)

    def settings(self) -> Settings:
        """Unit of the bucket."""
        return {"unit": (self.current.describe()[self.current.name]["units"], "")}
