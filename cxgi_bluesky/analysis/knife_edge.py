"""Size of the source's spot from a knife-edge scan.

A thin, opaque blade is moved through the beam between source and slit; the detector stands right behind the slit and
adds up what comes through. The ray from the point u of the spot to the point s of the slit crosses the blade's
plane at a u + b s, with a = knife-slit / source-slit and b = source-knife / source-slit distance. So the signal
against the blade's position is the spot's profile, a times as large, convolved with a box of b times the slit's
width, and summed up to the blade. With a Gaussian spot that is a difference of two integrals of the
error function: the slit's share is in the model, not taken off afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MeasurementError
from ..measurement.documents import number, read_run
from ..measurement.normalization import smooth_sigma
from ..measurement.schema import RunMetadata

Array = NDArray[np.float64]

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
MIN_POINTS = 8
PURPOSE = "knife_edge"


@dataclass(frozen=True)
class KnifeGeometry:
    """Distances and slit of a knife-edge measurement.

    Attributes
    ----------
    source_knife_mm, knife_slit_mm : float
        The nearer the knife is to the source, the less the slit's width counts.
    slit_um : float
        Width of the slit along the knife's axis.

    Raises
    ------
    CxgiError
        If one of them is not positive.
    """

    source_knife_mm: float
    knife_slit_mm: float
    slit_um: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise MeasurementError(f"{name} {value} of the knife edge: give a positive number")

    @property
    def spot_share(self) -> float:
        """Size of the spot in the blade's plane over its size, as a point of the slit sees it."""
        return self.knife_slit_mm / (self.source_knife_mm + self.knife_slit_mm)

    @property
    def slit_share_um(self) -> float:
        """Width of the slit in the blade's plane, as a point of the spot sees it."""
        return self.slit_um * self.source_knife_mm / (self.source_knife_mm + self.knife_slit_mm)

    def to_dict(self) -> dict[str, float]:
        """Plain values, as in a start document."""
        return {name: float(value) for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class SpotSize:
    """Size of the spot from a knife-edge scan. Lengths in um, levels in the signal's unit.

    Attributes
    ----------
    axis : str
        "x" or "y", the axis along which the knife moved.
    fwhm_um, fwhm_sigma_um : float
        Size of the spot at the source, full width at half maximum, and one standard deviation of it.
    centre_um, centre_sigma_um : float
        Blade position that halves the light.
    height, background : float
        Light past the blade, and what remains with the blade across it.
    slope_per_um : float
        Relative change of the light with the position of the blade: drift during the scan, uneven light.
    chi_square : float
        NaN where the noise is not known; then the sigmas come from the scatter about the fit.
    degrees_of_freedom : int
    position_um, signal, sigma, model : ndarray, shape (points,)
        sigma is NaN where it is not known.
    """

    axis: str
    fwhm_um: float
    fwhm_sigma_um: float
    centre_um: float
    centre_sigma_um: float
    height: float
    background: float
    slope_per_um: float
    chi_square: float
    degrees_of_freedom: int
    position_um: Array
    signal: Array
    sigma: Array
    model: Array

    def __str__(self) -> str:
        fit = "noise from the scatter"
        if math.isfinite(self.chi_square):
            fit = f"chi-square {self.chi_square:.1f} for {self.degrees_of_freedom}"
        return f"spot along {self.axis}: {self.fwhm_um:.1f} +- {self.fwhm_sigma_um:.1f} um FWHM ({fit})"


def shadow_share(offset_um: Array, fwhm_um: float, geometry: KnifeGeometry) -> Array:
    """Share of the light that the blade takes, its edge at these offsets from the middle of the beam.

    Parameters
    ----------
    offset_um : ndarray, shape (points,)
    fwhm_um : float
        Of the Gaussian spot, at the source.
    geometry : KnifeGeometry
        Distances and slit of the measurement.
    """
    from scipy.special import ndtr

    sigma = max(abs(fwhm_um) * geometry.spot_share / FWHM_PER_SIGMA, 1e-6 * geometry.slit_share_um)
    half = geometry.slit_share_um / 2
    t = np.stack([offset_um + half, offset_um - half]) / sigma
    upper, lower = t * ndtr(t) + np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    return sigma * (upper - lower) / (2 * half)


def fit_knife_scan(
    position_um: ArrayLike,
    signal: ArrayLike,
    geometry: KnifeGeometry,
    *,
    sigma: ArrayLike | None = None,
    axis: str = "x",
) -> SpotSize:
    """Fit spot size, centre, height, background and slope to the signal against the blade's position.

    Parameters
    ----------
    position_um, signal : array, shape (points,)
        8 points or more; repeats of a position are points of their own.
    geometry : KnifeGeometry
    sigma : array, shape (points,), optional
        One standard deviation of each signal. Values from few readings are smoothed by the law
        variance = a * signal + b. If the scatter about the fit is larger, the uncertainties grow by its ratio.
    axis : str

    Raises
    ------
    CxgiError
        For too few points, values that are not finite, or a scan that does not show both sides of an edge.
    """
    position, values = np.asarray(position_um, dtype=np.float64), np.asarray(signal, dtype=np.float64)
    noise = _check_positions(position, values, sigma)
    fit = _fit(position, values, noise, geometry)
    spread = math.sqrt(max(1.0, fit.redchi)) if noise is not None else 1.0
    numbers = {name: (parameter.value, parameter.stderr) for name, parameter in fit.params.items()}
    reach = numbers.pop("reach")
    numbers["centre"] = (_origin(position) + reach[0], reach[1])
    _check_edge(numbers, spread, position)
    fwhm, centre = numbers["fwhm"], numbers["centre"]
    return SpotSize(
        axis=axis,
        fwhm_um=abs(fwhm[0]),
        fwhm_sigma_um=fwhm[1] * spread,
        centre_um=centre[0],
        centre_sigma_um=centre[1] * spread,
        height=numbers["height"][0],
        background=numbers["background"][0],
        slope_per_um=numbers["slope"][0],
        chi_square=math.nan if noise is None else float(fit.chisqr),
        degrees_of_freedom=int(fit.nfree),
        position_um=position,
        signal=values,
        sigma=np.full_like(values, np.nan) if noise is None else noise,
        model=np.asarray(fit.best_fit, dtype=np.float64),
    )


def _check_positions(position: Array, values: Array, sigma: ArrayLike | None) -> Array | None:
    """The noise of each point, None where it is not known."""
    if position.ndim != 1 or position.shape != values.shape:
        raise MeasurementError(f"{position.size} positions for {values.size} signals: give one each")
    if len(position) < MIN_POINTS:
        raise MeasurementError(f"{len(position)} points of a knife edge: give {MIN_POINTS} or more")
    if not (np.isfinite(position).all() and np.isfinite(values).all()):
        raise MeasurementError("a position or signal of the knife edge is not finite: leave that point out")
    if np.ptp(position) == 0 or np.ptp(values) == 0:
        raise MeasurementError("the knife or the signal never changed: check the axis, the shutter and the detector")
    if sigma is None:
        return None
    noise = np.asarray(sigma, dtype=np.float64)
    if noise.shape != values.shape:
        raise MeasurementError(f"{noise.size} sigmas for {values.size} signals: give one each")
    if not (noise[np.isfinite(noise)] > 0).any():
        return None
    return smooth_sigma(values, np.where(noise > 0, noise, np.nan))


def _fit(position: Array, values: Array, noise: Array | None, geometry: KnifeGeometry) -> Any:
    from lmfit import Model

    order = np.argsort(position)
    ends = max(2, len(values) // 8)
    first, last = values[order[:ends]].mean(), values[order[-ends:]].mean()
    direction = 1.0 if last > first else -1.0  # the blade leaves the beam, or enters it
    dark, bright = min(first, last), max(first, last)
    middle, origin, span = float(np.mean(position)), _origin(position), float(np.ptp(position))

    def law(x: Array, reach: float, fwhm: float, height: float, background: float, slope: float) -> Array:
        passed = shadow_share(direction * (x - origin - reach), fwhm, geometry)
        return background + height * passed * (1 + slope * (x - middle))

    centre = float(position[np.argmin(np.abs(values - (dark + bright) / 2))])
    model = Model(law)
    start = model.make_params(
        reach=centre - origin, fwhm=span / 6 / geometry.spot_share, height=bright - dark, background=dark, slope=0.0
    )
    weights = None if noise is None else 1 / noise
    return model.fit(values, start, x=position, weights=weights, scale_covar=noise is None)


def _origin(position: Array) -> float:
    """From where the centre is counted in the fit: its steps are relative, so a centre at 1e-15 would not move."""
    return float(position.min() - np.ptp(position))


def _check_edge(numbers: Mapping[str, tuple[float, float | None]], spread: float, position: Array) -> None:
    remedy = "scan further to both sides of the edge, or expose longer"
    sigmas = [error for _, error in numbers.values()]
    if any(error is None or not math.isfinite(error) for error in sigmas):
        raise MeasurementError(f"no edge can be fitted to the knife scan: {remedy}")
    (height, height_sigma), (centre, _) = numbers["height"], numbers["centre"]
    if height_sigma is None or not height > 5 * height_sigma * spread:
        raise MeasurementError(f"the knife scan shows no step above the noise: {remedy}")
    if not position.min() < centre < position.max():
        raise MeasurementError(f"the edge would lie at {centre:.0f} um, outside the scan: {remedy}")


# ---------------------------------------------------------------- documents


def fit_knife_edge(run_or_documents: Any) -> SpotSize:
    """Fit the spot size to a run of `knife_edge_scan`.

    Parameters
    ----------
    run_or_documents : run of the catalog, or iterable of (name, document)

    Raises
    ------
    CxgiError
        If the run is no knife-edge scan, or shows no edge.
    """
    start, streams = read_run(run_or_documents, PURPOSE, "knife-edge scan")
    metadata, rows = RunMetadata.from_start(start), streams.get("primary", [])
    knife = metadata.knife_edge or {}
    geometry = KnifeGeometry(**{key: knife[key] for key in KnifeGeometry.__dataclass_fields__})
    position, signal, sigma = (
        np.array([number(row.get(metadata.data_keys[key])) for row in rows]) for key in ("position", "bucket", "sigma")
    )
    usable = np.isfinite(position) & np.isfinite(signal)
    return fit_knife_scan(position[usable], signal[usable], geometry, sigma=sigma[usable], axis=knife["axis"])
