"""Weights of the network on disk: safetensors, whose metadata hold the schema, the network's shape and the model card.

Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file

from ..._files.atomic_write import whole_file
from ...errors import CxgiError, FileFormatError
from .network import CHMWCNN, NetworkConfig
from .sigma_calibration import SigmaLaw

SCHEMA = "cxgi-ch-mwcnn-3"


def check_description(path: Path, description: Mapping[str, Any]) -> tuple[NetworkConfig, dict[str, Any]]:
    """The network's shape and the model card in the description of a file.

    Parameters
    ----------
    path : Path
        Of the file, for the messages.
    description : mapping
        What the file holds of itself: ``schema``, ``network`` and ``card``.

    Raises
    ------
    CxgiError
        If they are of another schema, incomplete, or no description of a network.
    """
    if description.get("schema") != SCHEMA:
        raise FileFormatError(
            f"weights {path} have schema {description.get('schema')!r}, this release needs {SCHEMA!r}"
        )
    try:
        config, card = NetworkConfig.from_dict(_mapping(description, "network")), _mapping(description, "card")
        _check_domain(_mapping(card, "known"))
        if card.get("sigma_law") is not None:
            SigmaLaw.from_dict(card["sigma_law"])
    except CxgiError as error:
        raise FileFormatError(f"weights {path} have a broken description ({error}): bring back a whole file") from error
    return config, card


def check_card_beside(path: Path, sha256: str, *, needed: bool) -> None:
    """Hold the digest of a weights file against the one in the model card of the same name beside it.

    Parameters
    ----------
    path : Path
        The weights file.
    sha256 : str
        Its digest, in hexadecimal digits.
    needed : bool
        Whether a missing card is an error.

    Raises
    ------
    CxgiError
        If the card names another digest or none, or is not there although it is `needed`.
    """
    card = path.with_suffix(".json")
    if not card.exists():
        if needed:
            raise FileFormatError(f"weights {path} have lost their model card {card.name}: reinstall")
        return
    try:
        named = json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise FileFormatError(
            f"model card {card} of the weights has no readable sha256 ({reason}): bring it back, or take it away"
        ) from error
    if named != sha256:
        raise FileFormatError(
            f"weights {path} have sha256 {sha256[:12]}, their model card {card.name} says {str(named)[:12]}: one of "
            "the two is damaged or of another training, bring back both"
        )


def _mapping(description: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = description.get(key)
    if not isinstance(found, dict) or not found:
        raise FileFormatError(f"{key} is {found!r}" if key in description else f"{key} is missing")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_DOMAIN: dict[str, Callable[[Any], bool]] = {
    "sizes": lambda v: isinstance(v, list) and bool(v) and all(type(size) is int for size in v),
    "shortest": _is_number,
    "noise_share": _is_number,
    "zero_level": lambda v: isinstance(v, list) and len(v) == 2 and all(map(_is_number, v)),
    "etched_masks": lambda v: isinstance(v, bool),
}


def _check_domain(domain: Mapping[str, Any]) -> None:
    for key, fits in _DOMAIN.items():
        if not fits(domain.get(key)):
            raise FileFormatError(
                f"known.{key} of the card is {domain.get(key)!r}" if key in domain else f"no known.{key}"
            )


# ---------------------------------------------------------------- weights file


_METADATA_KEY = "cxgi"  # key of the metadata
_MAX_REASON = 200  # characters
MAX_BYTES = 256_000_000  # the shipped file has 3 MB
SHIPPED_WEIGHTS = Path(__file__).parent / "data" / "ch_mwcnn.safetensors"


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """Weights of a network, with its shape, its model card and the digest of their file."""

    config: NetworkConfig
    tensors: dict[str, torch.Tensor]
    card: dict[str, Any]
    sha256: str

    @property
    def has_sigma(self) -> bool:
        """Whether it was trained to estimate how far each pixel may be off."""
        return bool(self.card.get("has_sigma"))

    @cached_property
    def sigma_law(self) -> SigmaLaw | None:
        """How each image's sigma is scaled, if the training has found it.

        Raises
        ------
        CxgiError
            If what the card holds is no law.
        """
        law = self.card.get("sigma_law")
        return None if law is None else SigmaLaw.from_dict(law)

    @cached_property
    def network(self) -> CHMWCNN:
        """The network in single precision, as it is trained."""
        return self._build().eval()

    @cached_property
    def for_running(self) -> CHMWCNN:
        """The network as it runs fastest here."""
        return self._build().for_running()

    def _build(self) -> CHMWCNN:
        """Make a network of the tensors; it takes no memory before they are found to fit."""
        with torch.device("meta"):
            network = CHMWCNN(self.config)
        network.load_state_dict(self.tensors, assign=True)
        return network


def save_weights(path: Path, network: CHMWCNN, card: dict[str, Any]) -> None:
    """Write weights (half precision) with their model card; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
    network : CHMWCNN
    card : dict
        The model card, of plain values.
    """
    tensors = {
        name: value.detach().cpu().to(torch.float16).contiguous() for name, value in network.state_dict().items()
    }
    description = {"schema": SCHEMA, "network": network.config.to_dict(), "card": card}
    metadata = {_METADATA_KEY: json.dumps(description, sort_keys=True)}  # one key: of several the order varies
    write_tensors(path, tensors, metadata)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all, that others may read as far as the umask lets them.

    Parameters
    ----------
    path : Path
    tensors : dict of str to Tensor
        By name; any shapes, contiguous in memory.
    metadata : dict of str to str
    """
    with whole_file(path) as part:
        part.touch()
        usual = stat.S_IMODE(part.stat().st_mode)
        save_file(tensors, part, metadata)  # puts a file that its owner alone may read in its place
        part.chmod(usual)


def load_network(weights: str | Path | None = None) -> LoadedNetwork:
    """Read a weights file, by default the shipped one; read again only when the file changes.

    Raises
    ------
    CxgiError
        If it is missing, truncated, no safetensors file, of another schema or shape, holds values that are not finite,
        or is not the file that the model card beside it names.
    """
    path = Path(weights) if weights is not None else SHIPPED_WEIGHTS
    return _read(path, card_beside=True)


def load_without_card(weights: Path) -> LoadedNetwork:
    """As `load_network`, whatever the card beside the file holds: for whoever writes that card.

    Raises
    ------
    CxgiError
        As `load_network`, but for the card.
    """
    return _read(weights, card_beside=False)


def _read(path: Path, *, card_beside: bool) -> LoadedNetwork:
    try:
        status = path.stat()
        if status.st_size > MAX_BYTES:
            raise FileFormatError(f"weights {path} have more than {MAX_BYTES} bytes: is it another file?")
        loaded = _read_network(path, status.st_mtime_ns)
    except (OSError, SafetensorError) as error:
        raise FileFormatError(f"weights {path} cannot be read ({error}): give another file or reinstall") from error
    if card_beside:
        card = path.with_suffix(".json")
        modified_ns = card.stat().st_mtime_ns if card.exists() else None
        _check_card(path, loaded.sha256, path == SHIPPED_WEIGHTS, modified_ns)
    return loaded


@lru_cache(maxsize=4)  # live images ask for each image
def _check_card(path: Path, sha256: str, needed: bool, modified_ns: int | None) -> None:
    check_card_beside(path, sha256, needed=needed)


@lru_cache(maxsize=4)
def _read_network(path: Path, modified_ns: int) -> LoadedNetwork:
    with safe_open(path, framework="pt") as file:
        config, card = check_description(path, _read_description(file.metadata() or {}))
    data = path.read_bytes()
    tensors = {name: tensor.float() for name, tensor in load(data).items()}
    for name, tensor in tensors.items():  # a sum is finite only if all are, and takes a tenth of the time
        if not math.isfinite(tensor.sum().item()) and not bool(tensor.isfinite().all()):
            raise FileFormatError(f"weights {path} hold values that are not finite ({name}): bring back a whole file")
    loaded = LoadedNetwork(config, tensors, card, hashlib.sha256(data).hexdigest())
    try:
        _ = loaded.for_running
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])[:_MAX_REASON]
        raise FileFormatError(f"weights {path} do not fit their own network description ({reason} ...)") from error
    return loaded


def _read_description(metadata: dict[str, str]) -> dict[str, Any]:
    """Read what the file holds of itself; files of the first release have the schema as a key of its own."""
    try:
        description = json.loads(metadata.get(_METADATA_KEY, "null"))
    except ValueError:
        description = None
    return description if isinstance(description, dict) else {"schema": metadata.get("schema")}
