"""CH-MWCNN: run the network on a measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import CxgiError
from ..measurement import Measurement
from .model_error import ErrorSizes
from .network import CHMWCNN
from .network_input import NetworkInput
from .network_measurement import network_input
from .weights_file import LoadedNetwork, load_network


def ch_mwcnn(
    measurement: Measurement, *, weights: str | Path | None = None, sizes: ErrorSizes | None = None
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reconstruct with the network, told how large the errors of the coefficients really are (`model_error`).

    Parameters
    ----------
    measurement : Measurement
        Of a size the weights were trained on; with its masks, where maps of the tiles were recorded.
    weights : path, optional
        A safetensors file; by default the one shipped with the package.
    sizes : ErrorSizes, optional
        Where other steps have found, or will look for, the error size of this measurement.

    Raises
    ------
    CxgiError
        If the weights cannot be used, or do not know the size.
    """
    loaded = load_network(weights)
    check_known_size(loaded, measurement.size)
    given, found = network_input(measurement, sizes)
    return run_network(loaded.network, given)[0], {"weights_sha256": loaded.sha256, **found}


def check_known_size(loaded: LoadedNetwork, size: int) -> None:
    """Raise `CxgiError` for a size that the weights were not trained on."""
    known = loaded.card["known"]["sizes"]
    if size not in known:
        raise CxgiError(f"size {size} is unknown to the network's weights (they know {known}): use method tv")


@contextmanager
def _one_thread() -> Iterator[None]:
    """An image this small gains nothing from a second core, and a scan may need it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_network(network: CHMWCNN, given: NetworkInput) -> NDArray[np.float32]:
    """One forward pass, shape (b, n, n), in the unit of the measurement."""
    with torch.inference_mode(), _one_thread():
        image: NDArray[np.float32] = network.in_its_unit(given)[:, 0].numpy()
    return image
