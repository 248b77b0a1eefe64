"""What a weights file says of itself, checked before anything relies on it; and the card beside the file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CxgiError
from .network import NetworkConfig
from .sigma_scale import SigmaLaw

SCHEMA = "cxgi-ch-mwcnn-3"


def checked_words(path: Path, words: Mapping[str, Any]) -> tuple[NetworkConfig, dict[str, Any]]:
    """The network's shape and the model card in the words of a file.

    Raises
    ------
    CxgiError
        If they are of another schema, incomplete, or no words of a network.
    """
    if words.get("schema") != SCHEMA:
        raise CxgiError(f"weights {path} have schema {words.get('schema')!r}, this release needs {SCHEMA!r}")
    try:
        config, card = NetworkConfig.from_dict(_mapping(words, "network")), _mapping(words, "card")
        _check_known(_mapping(card, "known"))
        if card.get("sigma_law") is not None:
            SigmaLaw.from_dict(card["sigma_law"])
    except CxgiError as error:
        raise CxgiError(f"weights {path} have a broken description ({error}): bring back a whole file") from error
    return config, card


def check_card_beside(path: Path, sha256: str, *, needed: bool) -> None:
    """Hold the digest of a weights file against the one in the model card of the same name beside it.

    Raises
    ------
    CxgiError
        If the card names another digest or none, or is not there although it is `needed`.
    """
    card = path.with_suffix(".json")
    if not card.exists():
        if needed:
            raise CxgiError(f"weights {path} have lost their model card {card.name}: reinstall")
        return
    try:
        words = json.loads(card.read_text(encoding="utf-8"))
        told = words["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CxgiError(
            f"model card {card} of the weights has no readable sha256 ({reason}): bring it back, or take it away"
        ) from error
    if told != sha256:
        raise CxgiError(
            f"weights {path} have sha256 {sha256[:12]}, their model card {card.name} says {str(told)[:12]}: one of the "
            "two is damaged or of another training, bring back both"
        )


def _mapping(words: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = words.get(key)
    if not isinstance(found, dict) or not found:
        raise CxgiError(f"{key} is {found!r}" if key in words else f"{key} is missing")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_KNOWN: dict[str, Callable[[Any], bool]] = {
    "sizes": lambda v: isinstance(v, list) and bool(v) and all(type(size) is int for size in v),
    "shortest": _is_number,
    "noise_share": _is_number,
    "zero_level": lambda v: isinstance(v, list) and len(v) == 2 and all(map(_is_number, v)),
    "etched_masks": lambda v: isinstance(v, bool),
}


def _check_known(known: Mapping[str, Any]) -> None:
    for key, fits in _KNOWN.items():
        if not fits(known.get(key)):
            raise CxgiError(f"known.{key} of the card is {known.get(key)!r}" if key in known else f"no known.{key}")
