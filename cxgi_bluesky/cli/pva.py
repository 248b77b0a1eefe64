"""``cxgi pva``: the image of the running scan as PVs of EPICS."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, name_missing_extra
from ._options import FROM_HELP, Commands, Echo, Payload, add_command
from .reconstruct import METHOD_NAMES

if TYPE_CHECKING:
    from ..callbacks.followed_scans import LinkedRuns, SourceThread
    from ..callbacks.pva_publisher import PvaPublisher

LOOK_S = 0.5  # between two looks at whether the source still works
LOOPBACK = "127.0.0.1"
SEARCH_S = 1.0  # so long another server of the same PVs is looked for


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "pva",
        pva,
        examples=[
            "cxgi pva  # PVs CXGI:Image and others, for this machine",
            "cxgi pva --prefix BL7:CXGI: --host 0.0.0.0  # for others too",
        ],
    )
    parser.add_argument(
        "--from", dest="source", metavar="SOURCE", help=f"{FROM_HELP} (default: the journals of the data folder)"
    )
    parser.add_argument("--prefix", default="CXGI:", help="of all PVs (default: %(default)s)")
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="of the interface to serve at, 0.0.0.0 for all (default: EPICS_PVAS_INTF_ADDR_LIST, else 127.0.0.1)",
    )
    parser.add_argument("--method", choices=METHOD_NAMES, default="tv", help="of the images (default: %(default)s)")


def pva(options: argparse.Namespace, echo: Echo) -> Payload:
    """Serve the newest image of the running or last scan as PVs over pvAccess, until it is interrupted.

    Parameters
    ----------
    options : argparse.Namespace
        `source`, `prefix`, `host`, `method` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Names of the PVs, and where they were served, for ``--json``.
    """
    from ..callbacks.followed_scans import LinkedRuns, SourceThread, open_source, open_stored

    stored = open_stored(options.source, options.data)
    from ..callbacks.pva_publisher import PvaPublisher, check_prefix
    from ..callbacks.whole_runs import WholeRuns

    linked = LinkedRuns(stored)
    check_prefix(options.prefix)
    _refuse_second(options.prefix, options.host)
    publisher = PvaPublisher(
        options.prefix, host=options.host, method=options.method, references=linked.references, folder=stored.folder
    )
    try:
        runs = WholeRuns(_Feed(publisher, linked), stored)
        source = open_source(options.source, runs, stored, begin_with_last=True, on_cut_off=publisher.note_cut_off)
        at = publisher.conf
        echo(
            f"Serving {len(publisher.names)} PVs, {options.prefix}Image and others, at "
            f"{at['EPICS_PVAS_INTF_ADDR_LIST']}, of scans in {options.source or stored.folder}; Ctrl-C ends it"
        )
        _serve(SourceThread(source))
        echo("Ended from the keyboard")
    finally:
        publisher.close()
    return {"pvs": list(publisher.names), "host": at["EPICS_PVAS_INTF_ADDR_LIST"], "source": options.source}


def _refuse_second(prefix: str, host: str | None) -> None:
    """Raise `CxgiError` if such PVs are served already: a client would take those of either."""
    with name_missing_extra():
        from p4p.client.thread import Context
    near = {"EPICS_PVA_ADDR_LIST": host or LOOPBACK}
    with Context("pva", conf=near) as context, suppress(TimeoutError):
        context.get(f"{prefix}State", timeout=SEARCH_S)
        raise ConfigError(f"{prefix}State is served already: end that server, or give another --prefix")


def _serve(thread: SourceThread) -> None:
    """Wait until it is interrupted, or the source fails."""
    try:
        while True:
            threading.Event().wait(LOOK_S)
            thread.check()
    except KeyboardInterrupt:
        return
    finally:
        thread.close()


class _Feed:
    """Give documents to the PVs, and the runs before them that their images need."""

    def __init__(self, publisher: PvaPublisher, linked: LinkedRuns) -> None:
        self._publisher, self._linked = publisher, linked

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document of a run that is followed."""
        self._linked(name, document)
        self._publisher(name, document)
