"""``cxgi web``: the live page, for everyone at the beamline."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .._files.key_file import read_key_variable, read_or_make_key_file
from ..errors import ConfigError
from ._options import LOOPBACK, Commands, Echo, Payload, add_command

PORT = 8064
KEY_VARIABLE = "CXGI_WEB_KEY"


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "web",
        web,
        examples=[
            "cxgi web  # the runs of your data folder, and the scan that runs",
            "cxgi web --data /data/ghost --host 0.0.0.0 --port 8064  # for other machines too",
            "cxgi web --queue tcp://127.0.0.1:60615 --key-file web-key  # to pause, stop and queue scans with the key",
        ],
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="SOURCE",
        help="0mq://HOST:PORT or tiled://HOST:PORT, to follow scans (default: the data folder's journals)",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen; 0.0.0.0: for other machines too (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=PORT, help="0 for any that is free (default: %(default)s)")
    parser.add_argument(
        "--name",
        dest="names",
        metavar="NAME",
        action="append",
        default=[],
        help="a name under which browsers ask for the page, if it is not this machine's own",
    )
    parser.add_argument(
        "--queue", metavar="ADDRESS", help="control socket of a queue server, tcp://HOST:PORT; needs a key"
    )
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        type=Path,
        help=f"the key to log in with, which only you can read; made if missing (default: the variable {KEY_VARIABLE})",
    )


def web(options: argparse.Namespace, echo: Echo) -> Payload:
    """Serve the live page: the running scan, the runs and their images, and a plan for the next scan.

    Parameters
    ----------
    options : argparse.Namespace
        `source`, `host`, `port`, `names`, `queue`, `key_file` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The address, for ``--json``.
    """
    from ..web.serve import LivePage, serve

    given = _queue_and_key(options.queue, options.key_file)
    page = LivePage(options.data, source=options.source, names=options.names, report=echo.note, **given)
    addresses: list[str] = []

    def report(address: str) -> None:
        addresses.append(address)
        echo(f"The page is at {address} (scans of {options.source or page.stored.location}); Ctrl-C ends it")
        if options.queue is not None:
            key = options.key_file or f"the variable {KEY_VARIABLE}"
            echo(f"With the key (in {key}) one may pause, stop and queue scans of {options.queue}")
            if not options.host.startswith(LOOPBACK):
                echo("Whoever listens on this network can read key and cookies: put a proxy with TLS in front of it")

    serve(page, options.host, options.port, report)
    return {"address": addresses[-1]}


def _queue_and_key(queue: str | None, key_file: Path | None) -> dict[str, Any]:
    """Return the queue server and the key; neither without a queue server."""
    if queue is None:
        if key_file is not None:
            raise ConfigError(f"--key-file {key_file}: a key is for a queue server alone, give --queue tcp://HOST:PORT")
        return {}
    from ..web.queue_server import QueueServer

    server = QueueServer(queue)
    key = (
        read_key_variable(KEY_VARIABLE) if key_file is None else read_or_make_key_file(key_file, variable=KEY_VARIABLE)
    )
    if key is None:
        raise ConfigError(
            f"--queue {queue} needs a key: --key-file FILE (made if missing), or put one into {KEY_VARIABLE}"
        )
    return {"queue": server, "key": key}
