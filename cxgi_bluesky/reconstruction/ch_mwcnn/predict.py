"""CH-MWCNN: run the network on a measurement, or on many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import MeasurementError
from ...measurement.measurement import Measurement
from .inputs import NetworkInput, PreparedInput, join, prepare
from .network import CHMWCNN
from .sigma_calibration import log_sigma_to_scale
from .training_domain import check_trained_size, find_etched_sizes, find_max_snr_db, list_warnings
from .weights import LoadedNetwork, load_network


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Within it torch has `number` threads, afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ---------------------------------------------------------------- the images


Image = NDArray[np.float32]

MAX_BATCH_PIXELS = 16 * 64 * 64  # beyond it a batch only takes more memory
_THREADS = 1  # an image this small gains nothing from a second core, and a scan may need it


def ch_mwcnn(
    measurement: Measurement,
    *,
    weights: str | Path | None = None,
    initial: NDArray[Any] | None = None,
    begin: NDArray[Any] | None = None,
) -> tuple[Image, dict[str, Any]]:
    """Reconstruct with the network, which is given the size of the coefficients' errors (`noise`).

    A sigma below those of its training would make the image worse: it is given the smallest of these.

    Parameters
    ----------
    measurement : Measurement
        Of a size the weights were trained on.
    weights : path, optional
        A safetensors file; by default the one shipped with the package.
    initial : ndarray, shape (n, n), optional
        Initial image; by default one by total variation is made of the coefficients.
    begin : ndarray, optional
        The former name of `initial`.

    Returns
    -------
    image : ndarray, shape (n, n)
    parameters : dict
        ``cautions``: in what the measurement is unlike any that the network was trained on. ``max_snr_db``, where
        sigma was below those of the training: the signal-to-noise ratio (dB) that the network was told.

    Raises
    ------
    CxgiError
        If the weights cannot be used, or do not know the size.
    """
    if begin is not None:
        warn("option begin is now initial: begin goes in the next release", FutureWarning, stacklevel=2)
        initial = begin
    loaded = load_network(weights)
    ready = _check(loaded, measurement, initial)
    return run_network(loaded.for_running, ready.given, ready.initial)[0], ready.parameters


def ch_mwcnn_many(
    measurements: Sequence[Measurement], *, weights: str | Path | None = None
) -> list[tuple[Image, dict[str, Any]]]:
    """Reconstruct many measurements, those of the same size together; as `ch_mwcnn` but for rounding.

    Parameters
    ----------
    measurements : sequence of Measurement
        Of sizes the weights were trained on.
    weights : path, optional
        A safetensors file; by default the one shipped with the package.

    Returns
    -------
    list of (ndarray, dict)
        Image, shape (n, n), and parameters of each measurement, as of `ch_mwcnn`.

    Raises
    ------
    CxgiError
        If the weights cannot be used, or do not know one of the sizes.
    """
    loaded = load_network(weights)
    ready = [_check(loaded, measurement) for measurement in measurements]
    images: dict[int, Image] = {}
    for rows in _batches(measurements):
        given, initial = join([ready[i].given for i in rows]), torch.cat([ready[i].initial for i in rows])
        images.update(zip(rows, run_network(loaded.for_running, given, initial), strict=True))
    return [(images[row], one.parameters) for row, one in enumerate(ready)]


def ch_mwcnn_sigma(measurement: Measurement, *, weights: str | Path | None = None) -> NDArray[np.float64]:
    """Estimate how far the network's image may be off the truth, one standard deviation of each pixel, shape (n, n).

    The network was trained to estimate it: 68 % of the pixels of its training objects lie within it. Where enough
    patterns were measured, some are held back and the image's whole sigma follows them (`sigma_calibration`).

    Parameters
    ----------
    measurement : Measurement
        Of a size the weights were trained on.
    weights : path, optional
        A safetensors file; by default the one shipped with the package.

    Returns
    -------
    ndarray, shape (n, n)
        In the unit of the measurement.

    Raises
    ------
    CxgiError
        As `ch_mwcnn`, or if the weights were never trained to estimate it.
    """
    loaded = load_network(weights)
    if not loaded.has_sigma:
        raise MeasurementError(
            "these weights were trained without uncertainty: train them on (uncertainty_steps), or use method tv"
        )
    ready = _check(loaded, measurement)
    with torch.inference_mode(), torch_threads(_THREADS):
        network, given, initial = loaded.for_running, ready.given, ready.initial
        image, log_sigma = network(given, initial, with_sigma=True)
        assert log_sigma is not None
        log_sigma = log_sigma_to_scale(loaded.sigma_law, network, given, initial, image, log_sigma)
        sigma: NDArray[np.float64] = (torch.exp(log_sigma) * ready.given.deviation)[0, 0].numpy().astype(np.float64)
    return sigma


def run_network(network: CHMWCNN, given: NetworkInput, initial: Tensor | None = None) -> Image:
    """One forward pass, shape (b, n, n), in the unit of the measurement.

    Parameters
    ----------
    network : CHMWCNN
    given : NetworkInput
        The normalised measurements.
    initial : Tensor, shape (b, 1, n, n), optional
        Initial images, normalised; by default those of `initial_images`.
    """
    with torch.inference_mode(), torch_threads(_THREADS):
        image: Image = network.in_its_unit(given, initial)[:, 0].numpy()
    return image


def _check(
    loaded: LoadedNetwork,
    measurement: Measurement,
    initial: NDArray[Any] | None = None,
) -> PreparedInput:
    domain = loaded.card["known"]
    check_trained_size(domain, measurement.size)
    ready = prepare(measurement, initial, max_snr_db=find_max_snr_db(loaded.card))
    model_error = ready.parameters["model_sigma"] > 0
    warnings = list_warnings(domain, ready.given, model_error=model_error, etched_sizes=find_etched_sizes(loaded.card))
    return replace(ready, parameters={"weights_sha256": loaded.sha256, **ready.parameters, "cautions": list(warnings)})


def _batches(measurements: Sequence[Measurement]) -> Iterator[list[int]]:
    """Group the measurements, by their rows, that are run together."""
    alike: dict[int, list[int]] = {}
    for row, measurement in enumerate(measurements):
        alike.setdefault(measurement.size, []).append(row)
    for size, rows in alike.items():
        length = max(1, MAX_BATCH_PIXELS // size**2)
        yield from (rows[first : first + length] for first in range(0, len(rows), length))
