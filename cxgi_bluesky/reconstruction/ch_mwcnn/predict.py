"""CH-MWCNN: run the network on a measurement, or on many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import MeasurementError
from ...measurement.measurement import Measurement
from .inputs import NetworkInput, Prepared, join, prepare
from .network import CHMWCNN
from .sigma_calibration import log_sigma_to_scale
from .training_domain import cautions, check_known_size, etched_sizes
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
Found = dict[str, Any]

MAX_BATCH_PIXELS = 16 * 64 * 64  # beyond it a batch only takes more memory
_THREADS = 1  # an image this small gains nothing from a second core, and a scan may need it


def ch_mwcnn(
    measurement: Measurement,
    *,
    weights: str | Path | None = None,
    begin: NDArray[Any] | None = None,
) -> tuple[Image, Found]:
    """Reconstruct with the network, told how large the errors of the coefficients really are (`noise`).

    Parameters
    ----------
    measurement : Measurement
        Of a size the weights were trained on.
    weights : path, optional
        A safetensors file; by default the one shipped with the package.
    begin : ndarray, shape (n, n), optional
        A picture to begin with; by default one by total variation is made of the coefficients.

    Returns
    -------
    image : ndarray, shape (n, n)
    parameters : dict
        ``cautions``: in what the measurement is unlike any that the network was trained on.

    Raises
    ------
    CxgiError
        If the weights cannot be used, or do not know the size.
    """
    loaded = load_network(weights)
    ready = _check(loaded, measurement, begin)
    return run_network(loaded.for_running, ready.given, ready.trial)[0], ready.found


def ch_mwcnn_many(
    measurements: Sequence[Measurement], *, weights: str | Path | None = None
) -> list[tuple[Image, Found]]:
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
    for places in _batches(measurements):
        given, trial = join([ready[i].given for i in places]), torch.cat([ready[i].trial for i in places])
        images.update(zip(places, run_network(loaded.for_running, given, trial), strict=True))
    return [(images[place], one.found) for place, one in enumerate(ready)]


def ch_mwcnn_sigma(measurement: Measurement, *, weights: str | Path | None = None) -> NDArray[np.float64]:
    """How far the network's picture may be off the truth, one standard deviation of each pixel, shape (n, n).

    The network was trained to say it: 68 % of the pixels of its training objects lie within it. Where enough patterns
    were measured, some are held back and the image's whole sigma follows what they say (`sigma_calibration`).

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
        As `ch_mwcnn`, or if the weights were never trained to say it.
    """
    loaded = load_network(weights)
    if not loaded.has_sigma:
        raise MeasurementError(
            "these weights were trained without uncertainty: train them on (uncertainty_steps), or use method tv"
        )
    ready = _check(loaded, measurement)
    with torch.inference_mode(), torch_threads(_THREADS):
        network, given, trial = loaded.for_running, ready.given, ready.trial
        image, log_sigma = network(given, trial, with_sigma=True)
        assert log_sigma is not None
        log_sigma = log_sigma_to_scale(loaded.sigma_law, network, given, trial, image, log_sigma)
        sigma: NDArray[np.float64] = (torch.exp(log_sigma) * ready.given.deviation)[0, 0].numpy().astype(np.float64)
    return sigma


def run_network(network: CHMWCNN, given: NetworkInput, trial: Tensor | None = None) -> Image:
    """One forward pass, shape (b, n, n), in the unit of the measurement.

    Parameters
    ----------
    network : CHMWCNN
    given : NetworkInput
        The normalised measurements.
    trial : Tensor, shape (b, 1, n, n), optional
        Pictures to begin with, normalised; by default those of `initial_images`.
    """
    with torch.inference_mode(), torch_threads(_THREADS):
        image: Image = network.in_its_unit(given, trial)[:, 0].numpy()
    return image


def _check(
    loaded: LoadedNetwork,
    measurement: Measurement,
    begin: NDArray[Any] | None = None,
) -> Prepared:
    known = loaded.card["known"]
    check_known_size(known, measurement.size)
    ready = prepare(measurement, begin)
    model_error = ready.found["model_sigma"] > 0
    cautious = cautions(known, ready.given, model_error=model_error, etched_sizes=etched_sizes(loaded.card))
    return replace(ready, found={"weights_sha256": loaded.sha256, **ready.found, "cautions": list(cautious)})


def _batches(measurements: Sequence[Measurement]) -> Iterator[list[int]]:
    """Places of measurements that are run together."""
    alike: dict[int, list[int]] = {}
    for place, measurement in enumerate(measurements):
        alike.setdefault(measurement.size, []).append(place)
    for size, places in alike.items():
        length = max(1, MAX_BATCH_PIXELS // size**2)
        yield from (places[first : first + length] for first in range(0, len(places), length))
