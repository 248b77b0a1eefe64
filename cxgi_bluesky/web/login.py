"""Who has given the key, and which requests may change something: of this page, with its token, from who has logged in.

There is one key and no names. A login is a random number in a cookie that scripts cannot read and that other pages
cannot send; only its digest is kept, in memory, so that a restart ends all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

LOGIN_S = 8 * 3600.0  # a shift: after it the key is asked for again
MAX_LOGINS = 50  # at once; the oldest makes room
WRONG_KEYS, WRONG_S = 5, 60.0  # so many from one address within so long, then none is taken
MAX_ADDRESSES = 1000  # that are remembered for it
MAX_FORM = 16_384  # bytes
FORM_S = 10.0  # for a form to arrive


@dataclass
class Login:
    """One that has given the key.

    Attributes
    ----------
    until_s : float
        When it ends, on the monotonic clock.
    token : str
        What stands in each of its forms.
    message : (str, bool), optional
        What came of its last request, and whether it was done; shown once.
    """

    until_s: float
    token: str
    message: tuple[str, bool] | None = None

    def take_message(self) -> tuple[str, bool] | None:
        """Return the message, for the one time that it is shown."""
        message, self.message = self.message, None
        return message


@dataclass
class Logins:
    """All that have given the key.

    Parameters
    ----------
    key : str
    """

    key: str
    _open: dict[str, Login] = field(default_factory=dict)
    _wrong: dict[str, deque[float]] = field(default_factory=dict)
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, request: Request) -> Login | None:
        """Return the login that a request belongs to; None for one without, or whose time is over.

        Parameters
        ----------
        request : Request
        """
        name = _digest(request.cookies.get(_cookie_of(request), ""))
        with self._lock:
            found = self._open.get(name)
            if found is not None and time.monotonic() > found.until_s:
                found = None
                del self._open[name]
        return found

    def token_of(self, cookie: str) -> str:
        """Return the token for the forms of a browser, by its cookie: no other page can know it.

        Parameters
        ----------
        cookie : str
        """
        return hmac.new(self._secret, cookie.encode(), "sha256").hexdigest()

    def greet(self, request: Request, response: Response, cookie: str) -> None:
        """Give a browser its cookie.

        Parameters
        ----------
        request : Request
        response : Response
        cookie : str
            Empty: take it away.
        """
        secure = request.headers.get("origin", "").startswith("https:") or request.scope["scheme"] == "https"
        response.set_cookie(
            _cookie_of(request), cookie, max_age=int(LOGIN_S) if cookie else 0, path="/", secure=secure, httponly=True,
            samesite="strict",
        )  # fmt: skip

    def log_in(self, request: Request, given: str) -> str:
        """Return the cookie of a new login.

        Parameters
        ----------
        request : Request
        given : str
            What was given for the key.

        Raises
        ------
        HTTPException
            403 for a wrong key; 429 after too many of them from one address, for a right one too.
        """
        address, now = request.client.host if request.client else "", time.monotonic()
        with self._lock:
            wrong = self._wrong.get(address, deque())
            while wrong and now - wrong[0] > WRONG_S:
                wrong.popleft()
            if len(wrong) >= WRONG_KEYS:
                wait_s = int(WRONG_S - (now - wrong[0])) + 1
                text = f"Too many wrong keys: wait {wait_s} s, then try again."
                raise HTTPException(429, text, {"retry-after": str(wait_s)})
            if not hmac.compare_digest(_digest(given), _digest(self.key)):
                wrong.append(now)
                self._wrong[address] = wrong
                if len(self._wrong) > MAX_ADDRESSES:
                    del self._wrong[next(iter(self._wrong))]
                raise HTTPException(403, "That is not the key.")
            cookie = secrets.token_urlsafe(32)
            if len(self._open) >= MAX_LOGINS:
                del self._open[next(iter(self._open))]
            self._open[_digest(cookie)] = Login(now + LOGIN_S, self.token_of(cookie))
        return cookie

    def log_out(self, request: Request) -> None:
        """End the login that a request belongs to.

        Parameters
        ----------
        request : Request
        """
        with self._lock:
            self._open.pop(_digest(request.cookies.get(_cookie_of(request), "")), None)

    async def read_form(self, request: Request) -> dict[str, str]:
        """Return the fields of a form that one of our own pages has sent.

        Parameters
        ----------
        request : Request

        Raises
        ------
        HTTPException
            403 for a form of another page or without the token of this browser, 413 for one that is too long, 408 for
            one that does not arrive.
        """
        check_origin(request.headers)
        body = b""
        try:
            with anyio.fail_after(FORM_S):
                async for part in request.stream():
                    body += part
                    if len(body) > MAX_FORM:
                        raise HTTPException(413, "That form is too long: nothing was changed.")
        except TimeoutError:
            raise HTTPException(408, "The form did not arrive: nothing was changed.") from None
        try:
            fields = dict(parse_qsl(body.decode("utf-8"), max_num_fields=50))
        except ValueError:
            raise HTTPException(400, "That form cannot be read: nothing was changed.") from None
        cookie = request.cookies.get(_cookie_of(request), "")
        token = fields.pop("token", "")
        if not cookie or not hmac.compare_digest(token.encode(), self.token_of(cookie).encode()):
            raise HTTPException(403, "The form is not of this login: nothing was changed. Load its page again.")
        return fields


def check_origin(headers: Mapping[str, str]) -> None:
    """Raise `HTTPException` (403) unless a browser says that a request comes from a page of the server that it asks.

    Parameters
    ----------
    headers : mapping
        Of the request, names in small letters.
    """
    origin, host = headers.get("origin", ""), headers.get("host", "")
    ours = origin.lower().partition("://")[2] == host.lower()
    if not ours or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        whence = f"from {origin[:100]}" if origin else "without an Origin"
        raise HTTPException(403, f"A request {whence} is not taken at {host}: nothing was changed.")


def _cookie_of(request: Request) -> str:
    """Name of the cookie: a browser sends those of one port to all others of the machine."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"cxgi_{port if port.isdecimal() else 'page'}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
