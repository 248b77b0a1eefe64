"""CH-MWCNN: load the weights, run the network on a measurement.

Weights are a safetensors file whose metadata holds the schema, the network's shape and the
model card; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import CxgiError
from ..measurement import Measurement
from .common_error import without_common_error
from .model_error import ErrorSizes, with_model_error
from .network import CHMWCNN, NetworkConfig, normalise

SCHEMA = "cxgi-ch-mwcnn-1"
SHIPPED_WEIGHTS = Path(__file__).parent / "weights" / "ch_mwcnn.safetensors"


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network ready to run, with its model card and the digest of its file."""

    network: CHMWCNN
    card: dict[str, Any]
    sha256: str


def save_weights(path: Path, network: CHMWCNN, card: dict[str, Any]) -> None:
    """Write weights (half precision) with their model card; the file appears whole or not at all."""
    tensors = {name: value.detach().to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    metadata = {"schema": SCHEMA, "network": json.dumps(network.config.to_dict()), "card": json.dumps(card)}
    temporary = path.with_suffix(".new")
    save_file(tensors, temporary, metadata)
    temporary.replace(path)


def load_network(weights: str | Path | None = None) -> LoadedNetwork:
    """Read a weights file, by default the shipped one; read again only when the file changes.

    Raises
    ------
    CxgiError
        If it is missing, truncated, no safetensors file, or of another schema or shape.
    """
    path = Path(weights) if weights is not None else SHIPPED_WEIGHTS
    try:
        return _read_network(path, path.stat().st_mtime_ns)
    except (OSError, SafetensorError) as error:
        raise CxgiError(f"weights {path} cannot be read ({error}): give another file or reinstall") from error


@lru_cache(maxsize=4)
def _read_network(path: Path, modified_ns: int) -> LoadedNetwork:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("schema") != SCHEMA:
            raise CxgiError(f"weights {path} have schema {metadata.get('schema')!r}, this release needs {SCHEMA!r}")
        names = file.keys()  # the file is no mapping: it cannot be iterated itself
        tensors = {name: file.get_tensor(name).float() for name in names}
    network = CHMWCNN(NetworkConfig.from_dict(json.loads(metadata["network"])))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CxgiError(f"weights {path} do not fit their own network description ({error})") from error
    return LoadedNetwork(network.eval(), json.loads(metadata["card"]), digest)


def ch_mwcnn(
    measurement: Measurement, *, weights: str | Path | None = None, sizes: ErrorSizes | None = None
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Reconstruct with the network, told how large the errors of the coefficients really are (`model_error`).

    Parameters
    ----------
    measurement : Measurement
        Of a size the weights were trained on.
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
    known = loaded.card["sizes"]
    if measurement.size not in known:
        raise CxgiError(
            f"size {measurement.size} is unknown to the network's weights (they know {known}): use method tv"
        )
    measurement, common = without_common_error(measurement)
    size, _ = (sizes or ErrorSizes()).of(measurement)
    return run_network(loaded.network, with_model_error(measurement, size)), {
        "weights_sha256": loaded.sha256,
        "common_offset": common.constant,
        "edge_error": common.edges,
        "sigma": size.sigma,
        "model_sigma": size.model_sigma,
        "sigma_origin": size.origin,
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """An image this small gains nothing from a second core, and a scan may need it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_network(network: CHMWCNN, measurement: Measurement) -> NDArray[np.float32]:
    """One forward pass, shape (n, n), in the unit of the measurement."""
    size = measurement.size
    coefficient = torch.from_numpy(measurement.coefficient_grid() / size).float()[None, None]
    measured = torch.from_numpy(measurement.measured_grid()).float()[None, None]
    sigma = np.where(measurement.measured_grid(), measurement.sigma_grid(), 0) / size
    variance = torch.from_numpy(sigma**2)[None, None].float()
    n = normalise(coefficient, measured, variance)
    with torch.inference_mode(), _one_thread():
        image = network(n.coefficients, measured, n.variance, (n.mean / n.deviation)[:, 0, 0, 0])
    return (image * n.deviation + n.mean)[0, 0].numpy()
