"""``cxgi web``: the live page, for everyone at the beamline."""

from __future__ import annotations

import argparse

from ._options import Commands, Echo, Payload, add_command

PORT = 8064


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "web",
        web,
        examples=[
            "cxgi web  # the runs of your data folder, and the scan that runs",
            "cxgi web --data /data/ghost --host 0.0.0.0 --port 8064  # for other machines too",
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


def web(options: argparse.Namespace, echo: Echo) -> Payload:
    """Serve the live page: the running scan, the runs and their images, and a plan for the next scan.

    Parameters
    ----------
    options : argparse.Namespace
        `source`, `host`, `port`, `names` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The address, for ``--json``.
    """
    from ..web.serve import LivePage, serve

    page = LivePage(options.data, source=options.source, names=options.names)
    addresses: list[str] = []

    def report(address: str) -> None:
        addresses.append(address)
        echo(f"The page is at {address} (scans of {options.source or page.stored.location}); Ctrl-C ends it")

    serve(page, options.host, options.port, report)
    return {"address": addresses[-1]}
