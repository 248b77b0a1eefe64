"""The process of the live page: follows scans, makes their images, and serves."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import uvicorn

from ..callbacks import LiveCHMWCNN, LiveCorrelation, LiveReconstruction, LiveSpeckleCorrelation
from ..callbacks.followed_scans import LinkedRuns, SourceThread, open_source, open_stored
from ..callbacks.whole_runs import WholeRuns
from ..errors import ConfigError, CxgiError
from .images import PngStore
from .live_state import LiveState
from .news import News
from .queue_server import QueueServer
from .server import Pages
from .stored_runs import RunPages

logger = logging.getLogger(__name__)

NICE = 5  # a scan on the same machine comes first
CONNECTIONS = 400  # at once; more are refused


class LivePage:
    """Everything that `cxgi web` does, from the source of documents to the application.

    Nothing of it touches a scan: it reads what a session has written anyway.

    Parameters
    ----------
    data : path or str, optional
        Data folder or Tiled server (default: ``CXGI_DATA``, else the user's data folder).
    source : str, optional
        ``0mq://HOST:PORT`` or ``tiled://HOST:PORT`` (default: the journals of the folder, or the server).
    names : iterable of str
        Under which the page is asked for, beside those of the machine.
    queue : QueueServer, optional
        Whose scans may be paused, stopped and queued from the page, by who has the key.
    key : str
        Needed with it.
    report : callable
        Takes a line for each login and each thing done.

    Raises
    ------
    CxgiError
        For an address that is none, or a server that cannot be used.
    """

    def __init__(
        self,
        data: str | Path | None = None,
        *,
        source: str | None = None,
        names: Iterable[str] = (),
        queue: QueueServer | None = None,
        key: str = "",
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.stored = open_stored(source, data)
        pngs = PngStore()
        self.live = LiveState(pngs, on_change=lambda: self.pages.news.notify())
        self.runs = RunPages(self.stored, pngs)
        shown = source or str(self.stored.location)
        self.pages = Pages(
            self.live, self.runs, pngs, source=shown, names=names, queue=queue, key=key, report=report
        )  # fmt: skip
        linked = LinkedRuns(self.stored)
        options: dict[str, Any] = {"on_image": self.live.show, "references": linked.references, "later": True}
        self._workers: list[LiveReconstruction] = [
            LiveCHMWCNN(details=True, **options),
            LiveCorrelation(details=True, **options),
            LiveSpeckleCorrelation(folder=self.stored.folder, **options),
        ]
        callbacks: list[Callable[[str, Any], None]] = [linked, self.live, *self._workers]

        def take(name: str, document: Any) -> None:
            for callback in callbacks:
                callback(name, document)

        self._source = open_source(source, WholeRuns(take, self.stored), self.stored)
        self._ended = False

    def start(self, on_failure: Callable[[], None] = lambda: None) -> Callable[[], None]:
        """Follow scans, and load meanwhile what the first image and the first run need; returns what ends it.

        Parameters
        ----------
        on_failure : callable, optional
            Called when the source fails; `check` then raises why.
        """
        self._thread = SourceThread(self._source, on_failure=on_failure)
        threading.Thread(target=self._load, name="web-load", daemon=True).start()

        def stop() -> None:
            self._ended = True
            self._thread.close()
            for worker in self._workers:
                worker.close()

        return stop

    def check(self) -> None:
        """Raise what the source has failed by."""
        self._thread.check()

    def _load(self) -> None:
        loads = [(f"live images by {worker.method}", worker.load) for worker in self._workers]
        for what, load in (*loads, ("stored runs", self.runs.open_catalog)):
            try:
                load()
            except CxgiError as error:
                if self._ended:  # then nothing can be loaded any more
                    return
                logger.warning("no %s (%s)", what, error)


def serve(page: LivePage, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Parameters
    ----------
    page : LivePage
    host : str
        Address to listen at: 127.0.0.1 for this machine alone, 0.0.0.0 for all its addresses.
    port : int
        0 for any that is free.
    on_ready : callable
        Takes the page's address, when it can be asked for.

    Raises
    ------
    CxgiError
        If the port cannot be had, or what the source has failed by.
    """
    with suppress(OSError):
        os.nice(NICE)
    with ExitStack() as ends:
        listener = ends.enter_context(_listen(host, port))
        config = uvicorn.Config(
            page.pages.app, log_level="warning", access_log=False, server_header=False, lifespan="on",
            timeout_graceful_shutdown=1, limit_concurrency=CONNECTIONS, proxy_headers=False,
        )  # fmt: skip
        server = _Server(config, page.pages.news)

        def end() -> None:
            server.should_exit = True

        ends.callback(page.start(end))
        on_ready(_address(host, listener.getsockname()[1]))
        with suppress(KeyboardInterrupt):  # uvicorn has ended by then
            server.run(sockets=[listener])
    page.check()


class _Server(uvicorn.Server):
    """Ends the streams of its viewers first: they would end with an error each."""

    def __init__(self, config: uvicorn.Config, news: News) -> None:
        super().__init__(config)
        self._news = news

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._news.close()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port < 65536:
        raise ConfigError(f"--port {port}: give one of 1 to 65535, or 0 for any that is free")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(f"--host {host} --port {port} cannot be had ({error}): choose another --port") from error


def _address(host: str, port: int) -> str:
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
