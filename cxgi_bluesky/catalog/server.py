"""A catalog on a Tiled server: the same runs, kept by another process and seen by other machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import CxgiError
from .writing import import_warnings_silenced

KEY_VARIABLE = "TILED_API_KEY"
# Tiled itself asks again for minutes, for which a scan would stand still. The journal has every exposure.
PATIENCE = {"TILED_RETRY_ATTEMPTS": 3, "TILED_RETRY_TIMEOUT": 10.0}


def is_server(data: str | Path | None) -> bool:
    """Whether a data folder is the address of a server instead."""
    return isinstance(data, str) and data.lower().startswith(("http://", "https://"))


def check_address(address: str) -> None:
    """Raise `CxgiError` for an address that holds a key or password: it would be shown, logged, and name a folder."""
    parts = urlsplit(address)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        raise CxgiError(
            f"the address of server {bare} has more than host and path, maybe a key: put the key into {KEY_VARIABLE}, "
            f"and give {bare}"
        )


def open_server(address: str) -> Any:
    """The catalog of a server; its key is in the environment variable ``TILED_API_KEY``.

    Raises
    ------
    CxgiError
        If the server does not answer, refuses the key, or keeps no catalog of runs.
    """
    _limit_patience()
    with import_warnings_silenced():
        from tiled.client import from_uri

        try:
            catalog = from_uri(address)
        except Exception as error:
            raise CxgiError(
                f"server {address} cannot be used ({type(error).__name__}: {error}): does it run, and is its key in "
                f"{KEY_VARIABLE}?"
            ) from error
    specs = [spec.name for spec in getattr(catalog, "specs", [])]
    if "CatalogOfBlueskyRuns" not in specs:
        raise CxgiError(
            f"server {address} keeps no catalog of runs there (specs {specs}): see docs/how-to/use-the-catalog"
        )
    return catalog


def _limit_patience() -> None:
    """For this process, unless its environment says otherwise, which Tiled reads once and may have read already."""
    with import_warnings_silenced():
        from tiled.client import utils
    for name, value in PATIENCE.items():
        if name not in os.environ:
            setattr(utils, name, value)
