"""The application: pages, images, files and events. Everything is read; nothing here can change a run or a scan.

What may change something, with a key, is in `control`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import anyio
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from .. import __version__
from ..catalog.query import UNFINISHED
from ..errors import CxgiError
from ..measurement.documents import cxgi_block
from ..measurement.plain_values import plain_or_text
from .control import ALWAYS_NEW, Control
from .guard import Guard
from .images import PngStore
from .live_state import LiveState, mapping
from .login import Login
from .news import CHARTS_S, MAX_VIEWERS, STATE_S, News
from .plan_page import DEFAULTS, plan_from_form
from .queue_server import QueueServer
from .stored_runs import FORMATS, PARTS, RunPages, Scan

HERE = Path(__file__).parent
STATIC = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}
ON_PAGE = 50  # runs
MAX_WAITING = 16  # requests that read the catalog or plan, beside those at work
TOO_LONG = 200  # characters of a search

Value = TypeVar("Value")


class _Turn:
    """Work in threads, a few at once; who would wait behind too many others is told to come later."""

    def __init__(self, threads: int) -> None:
        self._threads, self._limiter, self._waiting = threads, None, 0

    _limiter: anyio.CapacityLimiter | None

    async def __call__(self, work: Callable[..., Value], *arguments: Any) -> Value:
        if self._limiter is None:  # it belongs to the loop
            self._limiter = anyio.CapacityLimiter(self._threads)
        if self._waiting >= MAX_WAITING + self._threads:
            raise HTTPException(503, "Too many requests at once: try again in a moment.", {"retry-after": "2"})
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(functools.partial(work, *arguments), limiter=self._limiter)
        finally:
            self._waiting -= 1


class Pages:
    """All that is served.

    Parameters
    ----------
    live : LiveState
        Of the running scan.
    runs : RunPages
        The stored ones.
    pngs : PngStore
        Images of both.
    source : str
        Where scans come from, for the foot of the pages.
    names : iterable of str
        Of this server, beside those of the machine.
    queue : QueueServer, optional
        Whose scans may be paused, stopped and queued, by who has the key.
    key : str
        Needed with it.
    report : callable
        Takes a line for each login and each thing done.
    """

    def __init__(
        self,
        live: LiveState,
        runs: RunPages,
        pngs: PngStore,
        *,
        source: str,
        names: Iterable[str] = (),
        queue: QueueServer | None = None,
        key: str = "",
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._live, self._runs, self._pngs = live, runs, pngs
        self.news = News({"state": (live.snapshot, STATE_S), "charts": (live.charts, CHARTS_S)})
        self._list_turn, self._read_turn = _Turn(4), _Turn(1)
        self._files = {path.name: path.read_bytes() for path in (HERE / "static").iterdir() if path.suffix in STATIC}
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._control = None
        if queue is not None:
            self._control = Control(queue, key, live=live, render=self._render, turn=_Turn(4), report=report)
        self._templates.globals.update(
            static=self._static_address, version=__version__, source=source, has_key=queue is not None,
            queue_address="" if queue is None else queue.address,
        )  # fmt: skip
        self._templates.filters.update(when=_when, number=_number, as_json=_as_json)
        routes = [
            Route("/", self.live_page),
            Route("/events", self.events),
            Route("/state.json", self.state),
            Route("/live/{name}.png", self.live_png),
            Route("/runs", self.list_page),
            Route("/runs/{uid}", self.run_page),
            Route("/runs/{uid}/documents.json", self.documents),
            Route("/runs/{uid}/image.png", self.image_file),
            Route("/runs/{uid}/file.{file_format}", self.run_file),
            Route("/runs/{uid}/{part}", self.stored_png),
            Route("/plan", self.plan_page),
            Route("/static/{name}", self.static),
            *(self._control.routes if self._control is not None else ()),
        ]
        handlers: Any = {HTTPException: self._show_error, CxgiError: self._show_error, 500: self._show_error}
        self.app = Starlette(
            routes=routes,
            middleware=[Middleware(Guard, names=tuple(names))],
            exception_handlers=handlers,
            lifespan=self._run,
        )

    @contextlib.asynccontextmanager
    async def _run(self, app: Starlette) -> AsyncIterator[None]:
        writing = asyncio.create_task(self.news.write())
        try:
            yield
        finally:
            writing.cancel()

    def _login(self, request: Request) -> Login | None:
        return None if self._control is None else self._control.logins.find(request)

    def _render(self, request: Request, template: str, code: int = 200, **values: Any) -> HTMLResponse:
        page = self._templates.get_template(template).render({"login": self._login(request), **values})
        return HTMLResponse(page, code, headers=ALWAYS_NEW)

    async def _show_error(self, request: Request, error: Exception) -> Response:
        status, text, headers = 500, "Something went wrong on the server; its terminal says what.", {}
        if isinstance(error, HTTPException):
            status, text, headers = error.status_code, str(error.detail), dict(error.headers or {})
        elif isinstance(error, CxgiError):
            status, text = 404, str(error)
        response = self._render(request, "error.html", status, text=text, status=status, page="")
        response.headers.update(headers)
        return response

    # ------------------------------------------------------------ the running scan

    async def live_page(self, request: Request) -> Response:
        """The running scan."""
        panel = None
        if self._control is not None and self._login(request) is not None:
            panel, _ = await self._control.panel(of_scan=True)
        return self._render(
            request, "live.html", page="live", state=self._live.snapshot(), charts=self._live.charts(), panel=panel,
            back="live", message=self._take_message(request),
        )  # fmt: skip

    def _take_message(self, request: Request) -> tuple[str, bool] | None:
        """What came of the last thing that was asked for, once."""
        login = self._login(request)
        return None if login is None else login.take_message()

    async def state(self, request: Request) -> Response:
        """The state once, for programs."""
        return JSONResponse(self._live.snapshot(), headers=ALWAYS_NEW)

    async def events(self, request: Request) -> Response:
        """The state, whenever it changes."""
        if self.news.viewers >= MAX_VIEWERS:
            raise HTTPException(503, f"{MAX_VIEWERS} viewers follow already: close some.", {"retry-after": "30"})
        headers = {**ALWAYS_NEW, "x-accel-buffering": "no"}
        return StreamingResponse(self.news.follow(), media_type="text/event-stream", headers=headers)

    async def live_png(self, request: Request) -> Response:
        """An image of the running scan, by its content."""
        png = self._pngs.get(request.path_params["name"])
        if png is None:
            raise HTTPException(404, "This image is not kept any more.")
        return Response(png, media_type="image/png", headers=FOR_EVER)

    # ------------------------------------------------------------ stored runs

    async def list_page(self, request: Request) -> Response:
        """The list of runs."""
        search = request.query_params.get("q", "")[:TOO_LONG]
        page = _page_number(request.query_params.get("page", "1"))
        found, waiting = await self._list_turn(lambda: (self._runs.scans(search), self._runs.waiting()))
        listed = found[(page - 1) * ON_PAGE : page * ON_PAGE]
        shown = [(scan, self._thumbnail(scan), self._status(scan)) for scan in listed]
        return self._render(
            request, "runs.html", page="runs", search=search, scans=shown, total=len(found), number=page,
            pages=max(1, -(-len(found) // ON_PAGE)), waiting=waiting, running=bool(self._live.under_way()),
        )  # fmt: skip

    def _status(self, scan: Scan) -> str:
        """Whether a scan runs, or how it has ended: its last document may be here before the catalog has it."""
        stored = str(scan.summary["exit_status"])
        return (self._live.status(scan.summary["uid"]) or stored) if stored == UNFINISHED else stored

    def _thumbnail(self, scan: Scan) -> str | None:
        """Address of a small image: of the newest reconstruction, else the last live one while it is kept."""
        if scan.newest_image is not None:
            return f"/runs/{scan.newest_image}/image.small.png"
        image = self._live.last_image(scan.summary["uid"])
        return None if image is None else f"/live/{image['png']}.png"

    async def run_page(self, request: Request) -> Response:
        """A run and its reconstructions."""
        uid = _uid_of(request)
        scan = await self._list_turn(self._runs.find, uid)
        if uid != scan.summary["uid"]:
            return RedirectResponse(f"/runs/{scan.summary['uid']}", headers=ALWAYS_NEW)
        images = await self._read_turn(self._runs.describe_images, scan)
        good = [image for image in images if "problem" not in image]
        values: dict[str, Any] = {"scan": scan, "images": images, "good": good, "facts": list(_facts(scan))}
        rest = await self._list_turn(self._runs.find_rest, uid)
        values["facts"] += [] if rest is None else [("Completed by", rest[:8], rest)]
        values["live"] = None if images else self._live.last_image(uid)
        values["status"] = self._status(scan)
        return self._render(request, "run.html", page="runs", start=scan.run.start, **values)

    async def stored_png(self, request: Request) -> Response:
        """The image of a reconstruction, or its uncertainty, as the pages show it."""
        part = request.path_params["part"].removesuffix(".small.png")
        if part not in PARTS:
            raise HTTPException(404, "There is nothing of that name.")
        png = await self._read_turn(self._runs.png, _uid_of(request), part)
        return Response(png, media_type="image/png", headers=FOR_EVER)

    async def image_file(self, request: Request) -> Response:
        """The image of a reconstruction as a file."""
        name, content = await self._read_turn(self._runs.file_of_image, _uid_of(request))
        return _download(name, content, "image/png")

    async def run_file(self, request: Request) -> Response:
        """A run in a file for others."""
        file_format = request.path_params["file_format"]
        if file_format not in FORMATS:
            raise HTTPException(404, f"There is no such format: {', '.join(FORMATS)} are known.")
        name, content = await self._read_turn(self._runs.file_of_run, _uid_of(request), file_format)
        return _download(name, content, "application/octet-stream")

    async def documents(self, request: Request) -> Response:
        """Start, descriptors and stop of a run."""
        found = await self._read_turn(self._runs.documents, _uid_of(request))
        text = json.dumps(found, indent=1, default=str)
        return Response(text, media_type="application/json", headers=ALWAYS_NEW)

    # ------------------------------------------------------------ the next scan, and what pages are made of

    async def plan_page(self, request: Request) -> Response:
        """What to measure within a budget."""
        form, made, problem = await self._list_turn(plan_from_form, dict(request.query_params))
        fields = {name: form[name] for name in DEFAULTS}
        return self._render(
            request, "plan.html", page="plan", form=form, fields=fields, plan=made, problem=problem,
            message=self._take_message(request),
        )  # fmt: skip

    async def static(self, request: Request) -> Response:
        """A style sheet or script."""
        name = request.path_params["name"]
        if name not in self._files:
            raise HTTPException(404, "There is nothing of that name.")
        return Response(self._files[name], media_type=STATIC[Path(name).suffix], headers=FOR_EVER)

    def _static_address(self, name: str) -> str:
        return f"/static/{name}?{hashlib.sha256(self._files[name]).hexdigest()[:12]}"


def _uid_of(request: Request) -> str:
    uid = str(request.path_params["uid"])
    if not re.fullmatch(r"[A-Za-z0-9-]{5,64}", uid):
        raise HTTPException(404, "There is no such run.")
    return uid


def _page_number(text: str) -> int:
    return int(text) if re.fullmatch(r"[1-9]\d{0,5}", text) else 1


def _download(name: str, content: bytes, media_type: str) -> Response:
    headers = {**ALWAYS_NEW, "content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)


# ---------------------------------------------------------------- how values are written in pages


def _facts(scan: Scan) -> Iterator[tuple[str, str, str | None]]:
    """What was measured: label, value, and the uid of the run that it names."""
    for label, value in _own_facts(scan):
        yield label, value, None
    block = cxgi_block(scan.run.start)
    for name, label in (("reference_uid", "Reference scan"), ("dark_uid", "Dark scan"), ("resumes", "Resumes")):
        if block.get(name):
            uid = str(block[name])
            yield label, uid[:8], uid


def _own_facts(scan: Scan) -> Iterator[tuple[str, str]]:
    start, stop, block = scan.run.start, mapping(scan.run.stop), cxgi_block(scan.run.start)
    patterns, board = mapping(block.get("pattern_set")), mapping(block.get("board"))
    figures = mapping(mapping(scan.run.measured).get("exposure_figures"))
    if patterns:
        measured = f"{mapping(stop.get('num_events')).get('primary', 0)} of " if stop else ""  # else known at the end
        yield "Patterns", f"{measured}{patterns.get('count')}, {patterns.get('order', patterns.get('basis'))} order"
        yield "Image", f"{patterns.get('size')} x {patterns.get('size')} pixels of {_number(board.get('pixel_um'))} µm"
    if block.get("exposure_s") is not None:
        yield "Exposure", f"{_number(block['exposure_s'])} s each"
    if figures:
        yield "Shutter open", f"{_number(figures.get('open_s'), 4)} s in {_number(figures.get('openings'), 6)} openings"
    if board:
        yield "Board", f"{board.get('id')}, {board.get('metal') or 'metal not known'}"
    if stop:
        took_s, open_s = stop["time"] - start["time"], figures.get("open_s")
        is_simulated = isinstance(open_s, int | float) and open_s > took_s + 1
        yield "Took", f"{took_s:.0f} s{', its exposures simulated' if is_simulated else ''}"
    yield "Plan", str(start.get("plan_name", "-"))
    if stop.get("reason"):
        yield "Reason", str(stop["reason"])
    yield "Uid", scan.summary["uid"]


def _when(seconds: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return time.strftime(form, time.localtime(seconds))


def _number(value: Any, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _as_json(value: Any) -> str:
    """JSON within a page, where it can end no element."""
    from markupsafe import Markup

    text = json.dumps(plain_or_text(value, "")[0], allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))
