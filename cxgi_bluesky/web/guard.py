"""What stands before every request: names that may be asked for, and headers that keep a browser from doing more."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # without a referrer forms would be sent without their origin, too
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Refuse requests under a name that is not ours, and add the headers.

    A page of somebody else can let its own name point to this machine (DNS rebinding), and would then read what is
    served here. Addresses that are numbers cannot be turned so, and are taken.

    Parameters
    ----------
    app : ASGI application
    names : iterable of str
        Names of this server, beside those of the machine.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        self._app = app
        self._names: set[str] = set()
        self._add("localhost", socket.gethostname(), *names)
        # A name server that does not answer would hold up the start.
        threading.Thread(target=lambda: self._add(socket.getfqdn()), name="web-own-name", daemon=True).start()

    def _add(self, *names: str) -> None:
        self._names.update(name.lower().rstrip(".") for name in names if name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name == b"host"}
        host = headers.get(b"host", b"").decode("latin-1")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        if self._is_ours(host):
            await self._app(scope, receive, send_with_headers)
        else:
            await _refuse(send_with_headers)

    def _is_ours(self, host: str) -> bool:
        found = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](:\d+)?|([^:\[\]]+)(:\d+)?", host)
        if found is None:
            return False
        name = (found[1] or found[3]).lower().rstrip(".")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


async def _refuse(send: Send) -> None:
    body = b"This server is not known under that name: use its address, or start cxgi web with --name NAME.\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
