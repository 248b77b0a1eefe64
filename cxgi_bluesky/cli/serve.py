"""``cxgi serve``: the catalog of a data folder over HTTP, for reading alone."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from ..errors import ConfigError, StorageError
from ._options import LOOPBACK, Commands, Echo, Payload, add_command


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "serve",
        serve,
        examples=[
            "cxgi serve  # your data folder, for this machine",
            "cxgi serve --data /data/ghost --host 0.0.0.0 --port 8000  # for others too",
        ],
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s, this machine)")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one (default: %(default)s)")


def serve(options: argparse.Namespace, echo: Echo) -> Payload:
    """Serve the runs of a data folder over HTTP, for reading alone, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    options : argparse.Namespace
        `host`, `port` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Address and folder, for ``--json``.
    """
    from ..catalog.open import data_folder, data_location, is_server
    from ..catalog.serve import SERVE_KEY_VARIABLE, listening, serve_catalog, serving_key

    if not 0 <= options.port < 2**16:
        raise ConfigError(f"--port {options.port}: give a number up to 65535, or 0 for a free one")
    if is_server(data_location(options.data)):
        raise ConfigError(f"--data {options.data}: a server serves itself, give a data folder")
    folder = Path(data_folder(options.data))
    if not folder.is_dir():
        raise StorageError(f"there is no data folder {folder}: name another (--data, CXGI_DATA), or scan first")
    folder = folder.resolve()
    with listening(options.host, options.port) as ears:
        host, port = ears.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        key, path = serving_key(folder)

        def report() -> None:
            echo(f"serving {folder} at {address}, for reading alone; Ctrl-C ends it")
            if path is None:
                echo(f"its key is in the variable {SERVE_KEY_VARIABLE}")
            else:
                echo(f"its key is in {path}, for who reads: export TILED_API_KEY=$(cat {shlex.quote(str(path))})")
            if not options.host.startswith(LOOPBACK):
                echo("whoever listens on this network can read key and data: put a proxy with TLS in front of it")

        serve_catalog(folder, key, ears, report)
    echo("ended")
    return {"address": address, "data": str(folder)}
