"""Attenuation of materials, and the modulation depth D_r that metal, thickness and spectrum predict.

Attenuation coefficients are those of xraydb (Elam's tables): the total one, coherent and incoherent
scattering included, for everything in the beam, since what is scattered misses a small diode; the
photoelectric one for the charge in the diode itself.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, CxgiError
from .spectrum import Array, Spectrum

# formula and density (g/cm3) of what xraydb does not list; FR4: glass cloth in epoxy, about half and half by mass
FR4 = ("Si0.83O1.66C4.4H5.0O0.8", 1.85)
ALLOYS = {
    "FR4": FR4,
    "laminate": FR4,
    "steel": ("Fe0.70Cr0.19Ni0.09Mn0.02", 7.9),
}
LENGTHS_UM = {"nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4}
DIODE_UM = 300.0  # thickness of a common silicon diode


@dataclass(frozen=True)
class Layer:
    """A layer of a material; a negative or infinite thickness is refused.

    Attributes
    ----------
    material : str
        An element or formula (Au, SiO2), a name of xraydb (silica, kapton), FR4 or steel.
    thickness_um : float
    """

    material: str
    thickness_um: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.thickness_um) and self.thickness_um >= 0):
            raise ConfigError(f"thickness {self.thickness_um} um of {self.material!r}: give 0 or more")

    @classmethod
    def parse(cls, text: str) -> Layer:
        """A layer written as ``Al:0.5mm`` (nm, um, mm or cm).

        Raises
        ------
        CxgiError
            For anything else.
        """
        match = re.fullmatch(r"\s*([\w .()-]+?)\s*:\s*([\d.eE+-]+)\s*(nm|um|µm|mm|cm)\s*", text)
        try:
            if match is None:
                raise ValueError
            return cls(match[1], float(match[2]) * LENGTHS_UM[match[3].replace("µ", "u")])
        except ValueError as error:
            if isinstance(error, CxgiError):
                raise
            raise ConfigError(f"layer {text!r}: give material and thickness, such as Al:0.5mm") from None

    def transmission(self, energy_kev: Array) -> Array:
        """Share of the photons that pass, at each energy."""
        return np.exp(-attenuation_per_um(self.material, energy_kev) * self.thickness_um)

    def absorption(self, energy_kev: Array) -> Array:
        """Share of the photons that the photoelectric effect absorbs: the charge in a diode, per photon and keV."""
        mu = attenuation_per_um(self.material, energy_kev, kind="photo")
        return -np.expm1(-mu * self.thickness_um)

    def __str__(self) -> str:
        return f"{self.thickness_um:g} um {self.material}"


def attenuation_per_um(material: str, energy_kev: Array, *, kind: str = "total") -> Array:
    """Linear attenuation coefficient (1/um) at each energy.

    Parameters
    ----------
    material : str
        As in `Layer`.
    energy_kev : ndarray, shape (bins,)
        Photon energies (keV).
    kind : {"total", "photo"}, optional
        Scattering included, the default, or the photoelectric effect alone.

    Returns
    -------
    ndarray, shape (bins,)

    Raises
    ------
    CxgiError
        For a material that is neither a formula of elements nor a known name, or one without a density.
    """
    import xraydb

    try:
        formula, density = _composition(xraydb, material)
        return np.asarray(xraydb.material_mu(formula, energy_kev * 1000, density=density, kind=kind)) * 1e-4
    except CxgiError:
        raise
    except Exception as error:
        raise ConfigError(f"material {material!r} is unknown ({str(error).splitlines()[0]}): {_REMEDY}") from error


_REMEDY = "give an element such as Au, or a name that xraydb knows such as silica or kapton, or FR4 or steel"


def _composition(xraydb: Any, material: str) -> tuple[str, float]:
    if material in ALLOYS:
        return ALLOYS[material]
    known = xraydb.find_material(material)
    if known is not None:
        return known.formula, known.density
    elements = xraydb.chemparse(material)
    if len(elements) == 1:
        return material, float(xraydb.atomic_density(next(iter(elements))))
    raise ConfigError(f"the density of {material!r} is not known: {_REMEDY}")


def signal_weights(spectrum: Spectrum, detector: Layer) -> Array:
    """What photons of each energy contribute to the diode's charge, shape (bins,), sum 1.

    Photons times energy times the share that is absorbed: a diode counts charge, not photons.

    Parameters
    ----------
    spectrum : Spectrum
        Of what reaches the diode.
    detector : Layer
        The diode: its material and thickness.

    Raises
    ------
    CxgiError
        If the detector sees nothing of the spectrum.
    """
    charge = spectrum.photons * spectrum.energy_kev * detector.absorption(spectrum.energy_kev)
    if not charge.sum() > 0:
        raise ConfigError(f"{detector} absorbs nothing of {spectrum.name}: check filters and detector")
    return charge / charge.sum()


def effective_transmission(
    thickness_um: NDArray[np.floating], material: str, spectrum: Spectrum, *, detector: Layer | None = None
) -> NDArray[np.float32]:
    """Transmission map of an object of one material as the diode's charge sees it: beam hardening included.

    Each ray's transmission is the mean of exp(-mu(E) t) over the spectrum, weighted by the charge. The masks
    harden the light once more; that is not in it, so that the simulation stays linear in the object.

    Parameters
    ----------
    thickness_um : ndarray, any shape
        Of the object along each ray (um), 0 or more.
    material : str
        As in `Layer`.
    spectrum : Spectrum
    detector : Layer, optional
        Of silicon, 300 um by default.
    """
    thickness = np.asarray(thickness_um, dtype=np.float64)
    if not (np.isfinite(thickness).all() and (thickness >= 0).all()):
        raise ConfigError("a thickness of the object is negative or not finite: give um, 0 or more")
    weights = signal_weights(spectrum, detector or Layer("Si", DIODE_UM))
    mu = attenuation_per_um(material, spectrum.energy_kev)
    total = np.zeros_like(thickness)
    for weight, coefficient in zip(weights, mu, strict=True):
        if weight > 0:
            total += weight * np.exp(-coefficient * thickness)
    return total.astype(np.float32)


def predict_d_r(
    metal: str,
    thickness_um: float,
    spectrum: Spectrum,
    *,
    substrate: Layer | None = None,
    filters: tuple[Layer, ...] = (),
    detector: Layer | None = None,
    veil: float = 0.0,
) -> float:
    """D_r = 1 - (signal behind the metal) / (signal behind an opening), of the diode's charge.

    Parameters
    ----------
    metal : str
        Of the mask, as in `Layer`; its openings are taken as free of metal.
    thickness_um : float
        Of the metal (um).
    spectrum : Spectrum
    substrate : Layer, optional
        Under metal and openings alike: it only changes the spectrum. None by default.
    filters : tuple of Layer, optional
        In front of the mask; none by default.
    detector : Layer, optional
        The diode: silicon, 300 um by default.
    veil : float, optional
        Share of the open signal that reaches the diode past the mask, unmodulated; 0 by default.

    Raises
    ------
    CxgiError
        For an unknown material or an impossible number.
    """
    if not 0 <= veil < 1:
        raise ConfigError(f"veil {veil} is outside 0 <= veil < 1: it is the unmodulated share of the open signal")
    for layer in (*filters, *([] if substrate is None else [substrate])):
        spectrum = spectrum.behind(layer.transmission(spectrum.energy_kev), str(layer))
    weights = signal_weights(spectrum, detector or Layer("Si", DIODE_UM))
    through = float(weights @ Layer(metal, thickness_um).transmission(spectrum.energy_kev))
    return (1 - veil) * (1 - through)


def parse_mask(text: str) -> tuple[Layer, Layer | None]:
    """Metal and substrate of a board's `metal` line, such as ``Au 10 um on SiO2 500 um``.

    Raises
    ------
    CxgiError
        If the line does not read like that.
    """
    layer = r"(\w+) ([\d.]+) (nm|um|mm)"
    match = re.fullmatch(rf"{layer}(?: on {layer})?", text.strip())
    if match is None:
        raise ConfigError(f"metal {text!r} does not read like 'Au 10 um on SiO2 500 um': name metal and thickness")
    metal = Layer(str(match[1]), float(match[2]) * LENGTHS_UM[match[3]])
    if match[4] is None:
        return metal, None
    return metal, Layer(match[4], float(match[5]) * LENGTHS_UM[match[6]])
