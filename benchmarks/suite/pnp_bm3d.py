"""PnP-BM3D beside our methods, where its own environment is installed.

BM3D's licence does not let it be a dependency, so it runs in the environment of `benchmarks/peers`, as a process of
its own. That environment belongs to a source checkout; in an installed package the peer is not there.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.error_model.common_mode import without_common_error
from cxgi_bluesky.reconstruction.error_model.noise import estimate_noise, with_model_error

Image = NDArray[Any]

NAME = "PnP-BM3D"
NOT_INSTALLED = "not installed: make .venv-peers/.installed"
_ADAPTER = "bm3d_pnp"
_CHECKOUT = Path(__file__).parents[2]
_RANGE_PERCENT = (1.0, 99.0)
_START_UP_S = 600.0  # and the image that was begun when the time was over


@dataclass(frozen=True, eq=False)
class PeerPictures:
    """What the peer made of some measurements.

    Attributes
    ----------
    images, ms : tuple
        One for each measurement, None where the time was over before it.
    why : str, optional
        Why there is nothing at all.
    settings : str
        Package, version and what was set, as the adapter says it.
    """

    images: tuple[Image | None, ...]
    ms: tuple[float | None, ...]
    why: str | None = None
    settings: str = ""


Peer = Callable[[Sequence[Measurement], float], PeerPictures]  # measurements, minutes


def peers_python() -> Path | None:
    """Interpreter of the peers' environment of this checkout; None where there is none."""
    python = _CHECKOUT / ".venv-peers" / "bin" / "python"
    return python if (python.parents[1] / ".installed").exists() and _runner().exists() else None


def _runner() -> Path:
    return _CHECKOUT / "benchmarks" / "peers" / "run.py"


def pnp_bm3d(
    measurements: Sequence[Measurement], minutes: float = math.inf, *, python: str | Path | None = None
) -> PeerPictures:
    """Images by plug-and-play with BM3D, in the order of the measurements, until the time is over.

    It gets what the network gets: coefficients whose common error was taken off, and the sigma that the data
    support. With measured masks it gets coefficients from which the masks' error was taken off, as TVAL3 does. Its
    denoiser wants a range of 0 to 1: a relative measurement is divided by the range of its image by `tv`.

    Parameters
    ----------
    measurements : sequence of Measurement
    minutes : float
        After which no further image is begun.
    python : path, optional
        Interpreter of an environment with bm3d; by default that of the checkout.

    Returns
    -------
    PeerPictures
        With its `why` where the environment is missing or the peer has failed.
    """
    found = peers_python() if python is None else Path(python)
    nothing: tuple[None, ...] = (None,) * len(measurements)
    if found is None or not _runner().exists():
        return PeerPictures(nothing, nothing, NOT_INSTALLED)
    if not measurements:
        return PeerPictures((), ())
    try:
        return _pictures(found, measurements, minutes)
    except (OSError, subprocess.SubprocessError, CxgiError) as error:
        return PeerPictures(nothing, nothing, f"failed: {error}")


def prepared(measurement: Measurement) -> tuple[Measurement, float]:
    """Coefficients of the masks as designed with the sigma that the data support; and the unit of the image."""
    if measurement.masks is not None:
        from cxgi_bluesky.reconstruction.methods.measured_masks import without_mask_error

        measurement = without_mask_error(measurement)
    cleaned, _ = without_common_error(measurement)
    sized = with_model_error(cleaned, estimate_noise(cleaned))
    if measurement.scale == "transmission":
        return sized, 1.0
    low, high = np.percentile(reconstruct(measurement, method="tv").image, _RANGE_PERCENT)
    return sized, float(high - low) or 1.0


def _pictures(python: Path, measurements: Sequence[Measurement], minutes: float) -> PeerPictures:
    ready = [prepared(measurement) for measurement in measurements]
    with tempfile.TemporaryDirectory() as folder:
        cases, out = Path(folder) / "cases.npz", Path(folder) / "out.npz"
        np.savez(cases, **_columns(ready))
        limit = [] if math.isinf(minutes) else ["--minutes", f"{minutes:g}"]
        done = subprocess.run(
            [str(python), str(_runner()), str(cases), "-", str(out), "--adapters", _ADAPTER, *limit],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=None if math.isinf(minutes) else 60 * minutes + _START_UP_S,
            check=False,
        )
        if done.returncode:
            raise CxgiError((done.stderr.strip().splitlines() or ["no message"])[-1])
        with np.load(out, allow_pickle=False) as file:
            (about,) = json.loads(str(file["peers"]))
            if "why" in about:
                raise CxgiError(about["why"])
            return _placed(file, about, ready)


def _columns(ready: Sequence[tuple[Measurement, float]]) -> dict[str, Any]:
    """One flat array a quantity and the length of each case: measurements differ in theirs."""
    made = [replace(m, coefficient=m.coefficient / unit, sigma=m.sigma / unit) for m, unit in ready]
    return {
        "length": [len(m) for m in made],
        "coefficients": np.concatenate([m.coefficient for m in made]),
        "index": np.concatenate([m.pattern_index for m in made]),
        "sigma": [float(np.sqrt(np.mean(m.sigma**2))) for m in made],
        "size": [m.size for m in made],
    }


def _placed(file: Any, about: dict[str, Any], ready: Sequence[tuple[Measurement, float]]) -> PeerPictures:
    images: list[Image | None] = [None] * len(ready)
    ms: list[float | None] = [None] * len(ready)
    flat, start = file[f"{_ADAPTER}.images"], 0
    for case, time_ms in zip(file[f"{_ADAPTER}.cases"].tolist(), file[f"{_ADAPTER}.ms"].tolist(), strict=True):
        measurement, unit = ready[case]
        size = measurement.size
        images[case] = flat[start : start + size**2].reshape(size, size) * unit
        ms[case], start = time_ms, start + size**2
    return PeerPictures(tuple(images), tuple(ms), None, f"{about['package']}: {about['settings']}")
