"""What may be done from the page by who has the key: pause, resume, stop and queue scans of a queue server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..errors import CxgiError
from .live_state import LiveState, mapping
from .login import Login, Logins
from .plan_page import DEFAULTS, plan_from_form
from .queue_server import QueueServer, QueueState

PLACES = {"live": "/", "queue": "/queue"}  # where a login or a form goes back to
MAX_SAMPLE = 200  # characters
ALWAYS_NEW = {"cache-control": "no-store"}


class Render(Protocol):
    """Make a page of a template."""

    def __call__(self, request: Request, template: str, code: int = 200, **values: Any) -> Response:
        """Make it."""
        ...


class InThread(Protocol):
    """Do work in a thread, when it is its turn."""

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        """Do it."""
        ...


@dataclass(frozen=True)
class Panel:
    """What the buttons act on.

    Attributes
    ----------
    what, doing : str
        The plan or scan, and what it does.
    reason : str
        Why the buttons are greyed out; empty if they are not.
    item : str
        Uid of the plan, for the forms.
    paused, pausing : bool
    """

    what: str
    doing: str = ""
    reason: str = ""
    item: str = ""
    paused: bool = False
    pausing: bool = False


def describe_panel(queue: QueueState, scan: Mapping[str, Any] | None) -> Panel:
    """Say what the buttons act on, or why they cannot.

    Parameters
    ----------
    queue : QueueState
    scan : mapping, optional
        Start document of the scan that is shown, if one is under way: buttons are for it, or for none.
    """
    if queue.problem is not None:
        return Panel("Not known what runs", reason=queue.problem)
    if scan is not None and not queue.makes(scan):
        where = "pause it there with Ctrl-C, twice. Only scans of the queue server are paused and stopped here."
        return Panel(
            _name_scan(scan), reason=f"This scan is of a session at a console, not of the queue server: {where}"
        )
    if not queue.running:
        opened = "" if queue.is_open else "; its environment is not open (qserver environment open)"
        return Panel("Nothing runs", reason=f"The queue server runs nothing{opened}.")
    paused = queue.manager == "paused"
    doing = "Paused" if paused else "Pause asked for" if queue.pausing else "Running"
    name = describe_item(queue.running)
    return Panel(f"{name['name']}: {name['details']}", doing, "", queue.item, paused, queue.pausing)


def _name_scan(start: Mapping[str, Any]) -> str:
    number = "" if start.get("scan_id") is None else f" {start['scan_id']}"
    return f"Scan{number}" + (f", {start['sample']}" if start.get("sample") else "")


def describe_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a plan of the queue for people.

    Parameters
    ----------
    item : mapping
        As the queue server gives it.

    Returns
    -------
    dict
        ``uid``, ``name``, ``details``, ``user``; of one that has ended ``status``, ``problem``, ``runs``.
    """
    arguments, result = mapping(item.get("kwargs")), mapping(item.get("result"))
    patterns = mapping(arguments.get("pattern_set"))
    details = [str(mapping(arguments.get("md")).get("sample") or "")]
    if patterns.get("count"):
        details.append(f"{patterns['count']} patterns")
    if arguments.get("exposure_s") is not None:
        details.append(
            f"{arguments['exposure_s']:g} s each" if isinstance(arguments["exposure_s"], float | int) else ""
        )
    runs = result.get("run_uids")
    return {
        "uid": str(item.get("item_uid", "")),
        "name": str(item.get("name", "")),
        "details": ", ".join(filter(None, details)) or "no name",
        "user": str(item.get("user", "")),
        "status": str(result.get("exit_status", "")),
        "problem": " ".join(str(result.get("msg") or "").split())[:400],
        "runs": [str(uid) for uid in runs] if isinstance(runs, list) else [],
    }


class Control:
    """The pages and forms of who has the key.

    Parameters
    ----------
    queue : QueueServer
    key : str
        What has to be given to log in.
    live : LiveState
        Of the running scan.
    render : callable
        As `Render`.
    turn : callable
        As `InThread`: the queue server may take its time, and viewers do not wait for it.
    report : callable
        Takes a line for each login and each thing done.
    """

    def __init__(
        self,
        queue: QueueServer,
        key: str,
        *,
        live: LiveState,
        render: Render,
        turn: InThread,
        report: Callable[[str], None],
    ) -> None:
        self.logins, self._report = Logins(key), report
        self._queue, self._live, self._render, self._turn = queue, live, render, turn
        self.routes = [
            Route("/login", self.login_page, methods=["GET"]),
            Route("/login", self.log_in, methods=["POST"]),
            Route("/queue", self.queue_page, methods=["GET"]),
            Route("/queue/part", self.queue_part, methods=["GET"]),
            Route("/queue/control", self.control_part, methods=["GET"]),
            Route("/queue/stop", self.stop_page, methods=["GET"]),
            self._form("/logout", self._log_out),
            self._form("/queue/pause", self._pause),
            self._form("/queue/resume", self._resume),
            self._form("/queue/stop", self._stop),
            self._form("/queue/start", self._start),
            self._form("/queue/remove", self._remove),
            self._form("/queue/add", self._add),
        ]

    # ------------------------------------------------------------ login

    async def login_page(self, request: Request) -> Response:
        """Ask for the key."""
        if self.logins.find(request) is not None:
            return _see(_place(request.query_params.get("to")))
        return self._ask_for_key(request, 200, "")

    def _ask_for_key(self, request: Request, code: int, problem: str) -> Response:
        cookie = secrets.token_urlsafe(32)  # a new one each time: nobody else can have set it
        to = request.query_params.get("to", "queue")
        token = self.logins.token_of(cookie)
        page = self._render(request, "login.html", code, page="", problem=problem, login_token=token, to=to)
        self.logins.greet(request, page, cookie)
        return page

    async def log_in(self, request: Request) -> Response:
        """Take the key."""
        fields = await self.logins.read_form(request)
        try:
            cookie = self.logins.log_in(request, fields.get("key", ""))
        except HTTPException as error:
            self._note(request, f"login refused: {error.detail}")
            page = self._ask_for_key(request, error.status_code, str(error.detail))
            page.headers.update(error.headers or {})
            return page
        self._note(request, "login")
        answer = _see(_place(fields.get("to")))
        self.logins.greet(request, answer, cookie)
        return answer

    def _note(self, request: Request, what: str) -> None:
        self._report(f"{time.strftime('%H:%M:%S')} {request.client.host if request.client else 'somebody'}: {what}")

    def _find_login(self, request: Request) -> Login:
        login = self.logins.find(request)
        if login is None:
            raise HTTPException(401, "Log in first: a login ends after some hours. Nothing was changed.")
        return login

    def _form(self, path: str, act: Callable[[Request, Login, dict[str, str]], Awaitable[Response]]) -> Route:
        """Where a form is sent: nothing is done but for who has logged in, from our own page, with its token."""

        async def take(request: Request) -> Response:
            fields = await self.logins.read_form(request)
            return await act(request, self._find_login(request), fields)

        return Route(path, take, methods=["POST"])

    async def _log_out(self, request: Request, login: Login, fields: dict[str, str]) -> Response:
        self.logins.log_out(request)
        answer = _see("/")
        self.logins.greet(request, answer, "")
        return answer

    # ------------------------------------------------------------ what is shown

    async def panel(self, *, of_scan: bool, new: bool = False) -> tuple[Panel, QueueState]:
        """Return what the buttons act on, and the state of the queue.

        Parameters
        ----------
        of_scan : bool
            On the page of the running scan: buttons are for the scan shown.
        new : bool
            Ask the queue server in any case.
        """
        queue = await self._turn(lambda: self._queue.state(new=new))
        under_way = self._live.under_way()
        scan = under_way[-1] if under_way and (of_scan or not queue.running) else None
        return describe_panel(queue, scan), queue

    async def queue_page(self, request: Request) -> Response:
        """What the queue server runs and what waits."""
        login = self.logins.find(request)
        if login is None:
            return _see("/login")
        values = await self._queue_values()
        return self._render(request, "queue.html", page="queue", message=login.take_message(), **values)

    async def queue_part(self, request: Request) -> Response:
        """The part of the page that changes."""
        self._find_login(request)
        return self._render(request, "queue_part.html", **await self._queue_values())

    async def _queue_values(self) -> dict[str, Any]:
        panel, queue = await self.panel(of_scan=False)
        items, ended = map(describe_item, queue.items), map(describe_item, queue.ended)
        values = {"panel": panel, "queue": queue, "back": "queue", "items": list(items), "ended": list(ended)}
        return {**values, "start_reason": _why_not_start(queue)}

    async def control_part(self, request: Request) -> Response:
        """The buttons for the running scan."""
        self._find_login(request)
        panel, _ = await self.panel(of_scan=True)
        return self._render(request, "control.html", panel=panel, back="live")

    async def stop_page(self, request: Request) -> Response:
        """Ask whether to stop, and how."""
        if self.logins.find(request) is None:
            return _see("/login")
        panel, _ = await self.panel(of_scan=False, new=True)
        back = request.query_params.get("back", "queue")
        return self._render(request, "stop.html", page="queue", panel=panel, back=back, address=_place(back))

    # ------------------------------------------------------------ what is done

    async def _do(
        self, request: Request, login: Login, fields: Mapping[str, str], done: str, work: Callable[[], None]
    ) -> Response:
        """Do it in a thread, and say on the next page what came of it."""
        try:
            await self._turn(work)
            login.message = done, True
        except CxgiError as error:
            login.message = str(error), False
        self._note(request, f"{request.url.path.rpartition('/')[2]}: {login.message[0]}")
        await self._turn(lambda: self._queue.state(new=True))
        return _see(_place(fields.get("back")))

    async def _pause(self, request: Request, login: Login, fields: dict[str, str]) -> Response:
        at_once = fields.get("when") == "now"
        done = "Pause asked for." if at_once else "Pause asked for: it comes after this exposure."
        return await self._do(request, login, fields, done, lambda: self._queue.pause(at_once=at_once))

    async def _resume(self, request: Request, login: Login, fields: dict[str, str]) -> Response:
        return await self._do(
            request, login, fields, "The plan goes on.", lambda: self._queue.resume(fields.get("item", ""))
        )

    async def _stop(self, request: Request, login: Login, fields: dict[str, str]) -> Response:
        keep = fields.get("how") == "keep"
        done = (
            "Stopped." if keep else "Aborted. The plan is at the front of the queue again: remove it, or start it anew."
        )
        return await self._do(request, login, fields, done, lambda: self._queue.stop(fields.get("item", ""), keep=keep))

    async def _start(self, request: Request, login: Login, fields: dict[str, str]) -> Response:
        return await self._do(request, login, fields, "The queue was started.", self._queue.start)

    async def _remove(self, request: Request, login: Login, fields: dict[str, str]) -> Response:
        return await self._do(request, login, fields, "Removed.", lambda: self._queue.remove(fields.get("item", "")))

    async def _add(self, request: Request, login: Login, fields: dict[str, str]) -> Response:
        """Queue what the page that plans has found: it is planned anew here, from the same fields."""
        given = {name: fields[name] for name in DEFAULTS if name in fields}
        again = f"/plan?{urlencode(given)}"
        try:
            name, arguments = await self._turn(_plan_to_queue, given, fields)
            await self._turn(self._queue.add, name, arguments)
        except CxgiError as error:
            login.message = str(error), False
            self._note(request, f"add: {error}")
            return _see(again)
        queue = await self._turn(lambda: self._queue.state(new=True))
        login.message = (
            f"Queued. {'It runs when its turn comes.' if queue.running else 'Start the queue to run it.'}",
            True,
        )
        self._note(request, f"add: {name} was queued")
        return _see("/queue")


def _plan_to_queue(given: Mapping[str, str], fields: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the plan and its arguments that the fields of the form ask for."""
    _, made, problem = plan_from_form(given)
    chosen = None if made is None else made["for_line" if fields.get("which") == "for_line" else "best"]
    if made is None or chosen is None:
        raise CxgiError(problem or "The plan for the line is the recommended one: queue that.")
    arguments = dict(chosen["arguments"])
    if sample := fields.get("sample", "").strip()[:MAX_SAMPLE]:
        arguments["md"] = {"sample": sample}
    if made["masks"] != "reference":
        return "mask_scan", arguments
    if fields.get("part") == "reference":
        arguments.pop("max_open_s", None)
        return "reference_scan", arguments
    reference = fields.get("reference_uid", "").strip()[:64]
    if not reference:
        raise CxgiError("This plan needs its reference scan: queue that first, then give its uid here.")
    return "mask_scan", {**arguments, "reference_uid": reference}


def _why_not_start(queue: QueueState) -> str:
    """Why the queue cannot be started now; empty if it can."""
    if queue.problem is not None:
        return "It is not known what the queue server does."
    if not queue.is_open:
        return "The environment of the queue server is not open: qserver environment open"
    if queue.running:
        return "It runs."
    return "" if queue.items else "Nothing waits."


def _place(name: str | None) -> str:
    return PLACES.get(name or "", "/queue")


def _see(address: str) -> Response:
    return RedirectResponse(address, 303, headers=ALWAYS_NEW)
