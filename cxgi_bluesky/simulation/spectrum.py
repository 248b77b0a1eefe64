"""Photon spectra: of an x-ray tube (computed by spekpy), of one energy, or of a file.

No table of spectra comes with the package: a tube needs the optional spekpy, the other two need nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files.text_table import columns_of, read_text
from ..errors import FileFormatError, check_choice

Array = NDArray[np.float64]

TUBE_ANODES = ("W", "Mo", "Rh", "Cu", "Ag", "Cr")  # that spekpy has data of
ANODE_ANGLE_DEG = 12.0
COLUMNS = ("energy_kev", "photons")
MAX_KEV = 800.0  # of the attenuation tables


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Photons per energy bin, in any unit; the shares count, not the sum.

    Attributes
    ----------
    energy_kev : ndarray, shape (bins,)
    photons : ndarray, shape (bins,)
    name : str
        Where it comes from, for people.

    Raises
    ------
    CxgiError
        If an energy is outside 0.1..800 keV, a number of photons negative or not finite, or all are 0.
    """

    energy_kev: Array
    photons: Array
    name: str

    def __post_init__(self) -> None:
        energy, photons = self.energy_kev, self.photons
        if energy.ndim != 1 or energy.shape != photons.shape or not energy.size:
            raise FileFormatError(f"spectrum {self.name!r}: give one number of photons for each energy")
        if not (np.isfinite(energy) & (energy >= 0.1) & (energy <= MAX_KEV)).all():
            raise FileFormatError(f"spectrum {self.name!r} has an energy outside 0.1..{MAX_KEV:g} keV: give keV")
        if not (np.isfinite(photons) & (photons >= 0)).all() or photons.sum() <= 0:
            raise FileFormatError(f"spectrum {self.name!r}: photons must be 0 or more, finite, and not all 0")

    @property
    def mean_kev(self) -> float:
        """Mean photon energy."""
        return float(self.energy_kev @ self.photons / self.photons.sum())

    def behind(self, transmission: Array, what: str) -> Spectrum:
        """The spectrum behind something with this transmission at each energy.

        Parameters
        ----------
        transmission : ndarray, shape (bins,)
            Share of the photons that pass, 0..1.
        what : str
            Name of the thing, for people.
        """
        return Spectrum(self.energy_kev, self.photons * transmission, f"{self.name}, {what}")


def one_energy(energy_kev: float) -> Spectrum:
    """Monochromatic light."""
    return Spectrum(np.array([float(energy_kev)]), np.ones(1), f"{energy_kev:g} keV")


def tube_spectrum(anode: str, kv: float, *, angle_deg: float = ANODE_ANGLE_DEG) -> Spectrum:
    """Unfiltered spectrum of an x-ray tube, in bins of 0.5 keV, from spekpy.

    Parameters
    ----------
    anode : str
        Element symbol.
    kv : float
        Tube voltage (kV).
    angle_deg : float, optional
        Anode angle (degrees); 12, the default, where it is not known.

    Raises
    ------
    CxgiError
        If spekpy is not installed, or does not know the tube.
    """
    check_choice("anode", anode, TUBE_ANODES, kind=FileFormatError, more=", or give a spectrum file")
    if not 10 <= kv <= 300:
        raise FileFormatError(f"tube voltage {kv:g} kV is outside 10..300 kV: give a spectrum file")
    spekpy = _spekpy()
    try:
        tube = spekpy.Spek(kvp=kv, th=angle_deg, targ=anode, dk=0.5)
        energy, photons = tube.get_spectrum(edges=False)
    except Exception as error:
        raise FileFormatError(f"spekpy has no spectrum of {anode} at {kv:g} kV ({error})") from error
    return Spectrum(np.asarray(energy, float), np.asarray(photons, float), f"{anode} tube at {kv:g} kV")


def _spekpy() -> Any:
    try:
        import spekpy
    except ImportError:
        raise FileFormatError(
            "tube spectra need spekpy: pip install 'cxgi_bluesky[spectra]', or give an energy or a spectrum file"
        ) from None
    return spekpy


def read_spectrum(path: str | Path) -> Spectrum:
    """Spectrum of a text file with the columns ``energy_keV`` and ``photons``, as `columns_of` reads them.

    Raises
    ------
    CxgiError
        If it cannot be read, has another header, or holds something that is no spectrum.
    """
    table = columns_of(path, read_text(path), COLUMNS)
    return Spectrum(table["energy_kev"], table["photons"], Path(path).name)


def find_spectrum(
    *, tube: str | None = None, kv: float | None = None, energy_kev: float | None = None, path: str | None = None
) -> Spectrum:
    """The spectrum of a tube at `kv`, of one energy or of a file: exactly one of the three.

    Parameters
    ----------
    tube : str, optional
        Element symbol of the anode.
    kv : float, optional
        Tube voltage (kV); needed with a tube, else not allowed.
    energy_kev : float, optional
        Photon energy (keV).
    path : str, optional
        File of `read_spectrum`.

    Raises
    ------
    CxgiError
        If none or several are given, or a tube without its voltage.
    """
    if sum(choice is not None for choice in (tube, energy_kev, path)) != 1:
        raise FileFormatError(
            "say which light: a tube with its kV, or an energy in keV, or a spectrum file; one of them"
        )
    if tube is not None:
        if kv is None:
            raise FileFormatError(f"a {tube} tube at which voltage: give kv")
        return tube_spectrum(tube, kv)
    if kv is not None:
        raise FileFormatError(f"kv {kv:g} belongs to a tube: name its anode")
    if energy_kev is not None:
        if not math.isfinite(energy_kev):
            raise FileFormatError(f"energy {energy_kev} keV is no number")
        return one_energy(energy_kev)
    return read_spectrum(str(path))
