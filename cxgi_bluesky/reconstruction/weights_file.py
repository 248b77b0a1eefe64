"""Weights of the network on disk: safetensors, whose metadata hold the schema, the network's shape and the model card.

Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import CxgiError
from ..whole_file import whole_file
from .network import CHMWCNN, NetworkConfig
from .sigma_scale import SigmaLaw

SCHEMA = "cxgi-ch-mwcnn-3"
_WORDS = "cxgi"  # key of the metadata
SHIPPED_WEIGHTS = Path(__file__).parent / "weights" / "ch_mwcnn.safetensors"


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network ready to run, with its model card and the digest of its file."""

    network: CHMWCNN
    card: dict[str, Any]
    sha256: str

    @property
    def says_sigma(self) -> bool:
        """Whether it was trained to say how far each pixel may be off."""
        return bool(self.card.get("has_sigma"))

    @cached_property
    def sigma_law(self) -> SigmaLaw | None:
        """How each image's sigma is scaled, if the training has found it.

        Raises
        ------
        CxgiError
            If what the card says is no law.
        """
        words = self.card.get("sigma_law")
        return None if words is None else SigmaLaw.from_dict(words)

    @cached_property
    def for_running(self) -> CHMWCNN:
        """The network as it runs fastest here."""
        return self.network.for_running()


def save_weights(path: Path, network: CHMWCNN, card: dict[str, Any]) -> None:
    """Write weights (half precision) with their model card; the file appears whole or not at all."""
    tensors = {name: value.detach().to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    words = {"schema": SCHEMA, "network": network.config.to_dict(), "card": card}
    metadata = {_WORDS: json.dumps(words, sort_keys=True)}  # one word: several would come in any order, bytes differ
    with whole_file(path) as part:
        save_file(tensors, part, metadata)


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
        words = _words_of(file.metadata() or {})
        if words.get("schema") != SCHEMA:
            raise CxgiError(f"weights {path} have schema {words.get('schema')!r}, this release needs {SCHEMA!r}")
        names = file.keys()  # the file is no mapping: it cannot be iterated itself
        tensors = {name: file.get_tensor(name).float() for name in names}
    network = CHMWCNN(NetworkConfig.from_dict(words["network"]))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CxgiError(f"weights {path} do not fit their own network description ({error})") from error
    return LoadedNetwork(network.eval(), words["card"], digest)


def _words_of(metadata: dict[str, str]) -> dict[str, Any]:
    """What the file says of itself; files of the first release have the schema as a word of its own."""
    try:
        words = json.loads(metadata.get(_WORDS, "null"))
    except ValueError:
        words = None
    return words if isinstance(words, dict) else {"schema": metadata.get("schema")}
