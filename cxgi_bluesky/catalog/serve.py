"""The catalog of a data folder over HTTP, for reading alone: Tiled's server behind a gate.

Tiled's single-user key may write and delete. So the gate passes on what reads and refuses all else, the catalog has no
storage to write to, and both databases are opened so that they refuse a write.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from .._files.key_file import read_key_variable, read_or_make_key_file
from ..errors import ConfigError, StorageError
from ..measurement.documents import cxgi_block
from .databases import refuse_writes
from .embedded import prepare_to_serve
from .run_index import state_of
from .tiled_adapter import silence_import_warnings

logger = logging.getLogger(__name__)

SERVE_KEY_VARIABLE = "CXGI_SERVE_KEY"
KEY_FILE = "serve-key"
LOOK_S = 1.0  # between two looks whether something new was stored
ENDING_S = 3  # for requests under way when the server is ended
NEWEST = 3  # runs that may be under way
READING_METHODS = ("GET", "HEAD", "OPTIONS")
READING_POSTS = tuple(  # of Tiled: requests whose list of columns may be too long for an address
    f"/api/v1/{path}/" for path in ("container/full", "table/full", "table/partition", "awkward/buffers")
)
API = "/api/v1/"
RAW_FILES = "/api/v1/asset/"  # as they lie on the disk: nothing here needs them
STREAM = "/api/v1/stream/single/"
PAGES = ("/", "/healthz", "/favicon.ico", "/tiled-ui-settings")  # of Tiled's own page, which asks for the key
PAGE_FOLDERS = ("/ui/", "/static/")
DATABASES = tuple(name + end for name in ("catalog.db", "tables.db") for end in ("", "-wal", "-shm"))

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


# ---------------------------------------------------------------- the key


def serving_key(folder: Path) -> tuple[str, Path | None]:
    """Return the key of a folder's server, and the file that it is in.

    It is in the environment variable ``CXGI_SERVE_KEY``; else in the file ``serve-key`` of the folder, which only its
    owner can read, and which is made with a random key if it is missing.

    Parameters
    ----------
    folder : Path
        Data folder.

    Returns
    -------
    (str, Path or None)
        The file is None for a key of the environment.

    Raises
    ------
    CxgiError
        For a key that is too short or has other characters than letters and digits, and a file that cannot be used or
        that others can read. No message has the key in it.
    """
    key = read_key_variable(SERVE_KEY_VARIABLE)
    if key is not None:
        return key, None
    path = folder / KEY_FILE
    return read_or_make_key_file(path, variable=SERVE_KEY_VARIABLE), path


# ---------------------------------------------------------------- what may be asked


class OnlyReading:
    """ASGI gate in front of Tiled: passes on requests that read and subscriptions, and refuses all others in one line.

    Parameters
    ----------
    app : callable
        The ASGI application behind it.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI asks for."""
        path = scope.get("path", "")
        if scope["type"] == "websocket" and not path.startswith(STREAM):
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "this server lets nobody write"})
        elif scope["type"] == "http" and not _is_served(path):
            await self._refuse(send, 403, "this server gives runs and their data, under /api/v1, and nothing else")
        elif scope["type"] == "http" and not _reads(scope["method"], path):
            await self._refuse(send, 405, f"this server is for reading alone, {scope['method']} is refused")
        else:
            await self._app(scope, receive, send)

    async def _refuse(self, send: Send, status: int, text: str) -> None:
        body = f'{{"detail": "{text}"}}'.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 405:
            headers.append((b"allow", ", ".join(READING_METHODS).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _is_served(path: str) -> bool:
    return path in PAGES or path.startswith(PAGE_FOLDERS) or (path.startswith(API) and not path.startswith(RAW_FILES))


def _reads(method: str, path: str) -> bool:
    return method in READING_METHODS or (method == "POST" and path.startswith(READING_POSTS))


class ScopesOfTheKey:
    """Access policy of Tiled's: a key may do what its scopes say, at every address.

    Without a policy Tiled 0.2 gives runs away without a key under ``/zarr``, and lets any key subscribe.
    """

    async def allowed_scopes(self, node: Any, principal: Any, tags: Any, scopes: Any) -> Any:
        """Return the scopes of the key (`scopes`); none without a key."""
        return scopes

    async def filters(self, node: Any, principal: Any, tags: Any, scopes: Any, needed: Any) -> Any:
        """Return that all is seen by a key that has the scopes needed, and nothing by another."""
        from tiled.access_control.access_policies import ALL_ACCESS, NO_ACCESS

        return ALL_ACCESS if set(needed) <= set(scopes) else NO_ACCESS


# ---------------------------------------------------------------- what may be read


class _Unlinked:
    """One of Tiled's adapters of files, which reads nothing through a symbolic link below the folder ``arrays``."""

    def __init__(self, adapters: Mapping[str, Any], media_type: str, folder: Path) -> None:
        self._adapters, self._media_type, self._folder = adapters, media_type, folder

    def from_catalog(self, data_source: Any, *arguments: Any, **options: Any) -> Any:
        """Check the files of a data source, then hand on to Tiled's adapter."""
        for asset in data_source.assets:
            self._check(asset.data_uri)
        return self._adapters[self._media_type].from_catalog(data_source, *arguments, **options)

    def _check(self, uri: str) -> None:
        from tiled.utils import path_from_uri

        if uri.startswith("file:"):
            link = find_link(path_from_uri(uri), below=self._folder / "arrays")
        else:
            link = _linked_database(self._folder)
        if link is not None:
            from fastapi import HTTPException

            logger.warning("%s is a symbolic link, or outside of the data folder: it is not served", link)
            raise HTTPException(403, "a file of this run is a symbolic link, or outside of the data folder")


def _linked_database(folder: Path) -> Path | None:
    return next((folder / name for name in DATABASES if (folder / name).is_symlink()), None)


def _check_databases(folder: Path) -> None:
    link = _linked_database(folder)
    if link is not None:
        raise StorageError(
            f"{link} is a symbolic link, and nothing is served through one: move the file here (arrays may be a link)"
        )


def build_app(folder: Path, key: str) -> App:
    """Build the ASGI application that serves the catalog of a folder.

    Parameters
    ----------
    folder : Path
        Data folder; must exist.
    key : str
        Letters and digits.

    Raises
    ------
    CxgiError
        If the catalog cannot be opened, or a database of it is a symbolic link.
    """
    return OnlyReading(_build_tiled(folder, key))


def _build_tiled(folder: Path, key: str) -> Any:
    _check_databases(folder)
    config = prepare_to_serve(folder)
    with silence_import_warnings():
        from tiled.mimetypes import DEFAULT_ADAPTERS_BY_MIMETYPE
        from tiled.server.app import build_app_from_config

    arguments = config["trees"][0]["args"]
    storage = arguments["readable_storage"] = arguments.pop("writable_storage")
    root = Path(storage[0].removeprefix("file://localhost")).parent
    arguments["adapters_by_mimetype"] = {
        media_type: _Unlinked(DEFAULT_ADAPTERS_BY_MIMETYPE, media_type, root)
        for media_type in DEFAULT_ADAPTERS_BY_MIMETYPE
    }
    config["authentication"] = {"single_user_api_key": key, "allow_anonymous_access": False}
    config["access_control"] = {"access_policy": "cxgi_bluesky.catalog.serve:ScopesOfTheKey", "args": {}}
    config["expose_raw_assets"] = False
    config["streaming_cache"] = {"uri": "memory"}
    for name in ("tiled.server.app", "tiled.server.authentication"):
        logging.getLogger(name).setLevel(logging.WARNING)
    app = build_app_from_config(config)
    refuse_writes(app.state.root_tree.context.engine.sync_engine, storage[1])
    return app


# ---------------------------------------------------------------- running


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Listen at an address, before what takes seconds; port 0 is a free one.

    Parameters
    ----------
    host : str
        Name or address of this machine.
    port : int

    Raises
    ------
    CxgiError
        If the port is in use, or the address is not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        ears = socket.create_server((host, port), family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno is not None and error.errno in errno.errorcode else str(error)
        raise ConfigError(
            f"{host}:{port} cannot be served at ({why}): choose another --port or --host; --port 0 takes a free one"
        ) from error
    with ears:
        yield ears


def serve_catalog(folder: Path, key: str, ears: socket.socket, on_start: Callable[[], None]) -> None:
    """Serve the catalog of a folder until SIGTERM or Ctrl-C; call in the main thread.

    Parameters
    ----------
    folder : Path
        Data folder; must exist.
    key : str
        Letters and digits.
    ears : socket
        Of `listening`.
    on_start : callable
        Called without arguments when the server answers.

    Raises
    ------
    CxgiError
        As `build_app`, and if the server cannot start.
    """
    tiled = _build_tiled(folder, key)
    with silence_import_warnings():
        import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                self.news = asyncio.create_task(_tell_news(folder, tiled.state.root_tree))
                on_start()

    # No access log, and no lines of websockets: both would have the key of who gives it in the address.
    gate = OnlyReading(tiled)
    config = uvicorn.Config(
        gate, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=ENDING_S
    )
    server = Server(config)
    with _ended_by_signals():
        server.run(sockets=[ears])
    if not server.started:
        raise StorageError(f"the server of {folder} does not start: the lines above say why")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a server that has ended at a signal return; it raises the signal anew, which would end the process."""
    import signal

    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _tell_news(folder: Path, root: Any) -> None:
    """Tell subscribers which runs have more: what is stored by other processes, Tiled does not notice by itself."""
    state, open_runs = "", set[str]()
    while True:
        before, state = state, state_of(folder, "catalog.db") + state_of(folder, "tables.db")
        if state != before:
            try:
                open_runs = await _tell(root, open_runs)
            except Exception as error:
                logger.warning("followers are not told of what is new (%s: %s)", type(error).__name__, error)
        await asyncio.sleep(LOOK_S)


async def _tell(root: Any, open_before: set[str]) -> set[str]:
    """Send news of the newest runs that have not ended, or had not; returns those that have not."""
    cache, now = root.context.streaming_cache, datetime.now().isoformat()
    open_runs = set()
    for key, run in await root.sort([("", -1)]).items_range(0, NEWEST):
        metadata = run.metadata()
        if not metadata.get("stop"):
            open_runs.add(key)
        if key in open_runs | open_before and "pattern_set" in cxgi_block(metadata.get("start") or {}):
            sequence = await cache.incr_seq(root.node.id)
            news = {"type": "container-child-metadata-updated", "key": key, "sequence": sequence, "timestamp": now}
            specs = [spec.model_dump() for spec in run.specs]
            await cache.set(root.node.id, sequence, {**news, "specs": specs, "metadata": metadata})
    return open_runs


def find_link(path: Path, *, below: Path) -> Path | None:
    """Find a symbolic link on the way to a path or, if that is a folder, in it; None if there is none.

    Parameters
    ----------
    path : Path
        Absolute; one that is not below the folder is taken for a link, as is one with ``..`` in it.
    below : Path
        Folder where the way begins; may be a link itself.
    """
    if not path.is_relative_to(below) or ".." in path.parts:
        return path
    step = below
    for part in path.relative_to(below).parts:
        step /= part
        if step.is_symlink():
            return step
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if os.path.islink(inner := os.path.join(folder, name)):
                return Path(inner)
    return None
