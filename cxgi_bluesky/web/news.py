"""Server-sent events: each viewer gets the newest state, written once for all; nothing is kept for who is slow."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

logger = logging.getLogger(__name__)

STATE_S, CHARTS_S = 0.1, 0.5  # shortest times between two of their kind
PING_S = 2.0  # a viewer that hears nothing for longer knows that the connection is lost
MAX_VIEWERS = 200


class News:
    """The newest message of each kind, and who waits for the next one.

    A viewer that does not read holds up its own connection alone: what was new meanwhile it never gets.

    Parameters
    ----------
    kinds : dict of str to (callable, float)
        What makes the newest state of each kind, and the shortest time between two (s).
    """

    def __init__(self, kinds: dict[str, tuple[Callable[[], Any], float]]) -> None:
        self._kinds = kinds
        self._messages: dict[str, tuple[int, bytes]] = {}
        self._written_at = dict.fromkeys(kinds, 0.0)
        self._number = 0
        self._changed, self._sent = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self.viewers = 0

    def notify(self) -> None:
        """Take note that there is something new; from any thread, in no time."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._changed.set)

    def close(self) -> None:
        """End what viewers follow; within the loop."""
        self._closing = True
        self._sent.set()

    async def write(self) -> None:
        """Write messages as states change, until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            wait_s = self._write_due()
            self._sent.set()
            self._sent = asyncio.Event()
            await asyncio.sleep(STATE_S)
            if wait_s > 0:
                self._changed.set()  # something is not written yet

    def _write_due(self) -> float:
        """Write the kinds whose time has come; returns how long the others have to wait (s)."""
        wait_s, at = 0.0, time.monotonic()
        for kind, (make, shortest_s) in self._kinds.items():
            left_s = self._written_at[kind] + shortest_s - at
            if left_s > 0:
                wait_s = max(wait_s, left_s)
                continue
            self._written_at[kind] = at
            try:
                data = json.dumps(make(), separators=(",", ":"), allow_nan=False)
            except Exception as error:  # the next one may be right
                logger.warning("no %s for the viewers (%s: %s)", kind, type(error).__name__, error)
                continue
            self._number += 1
            self._messages[kind] = self._number, f"event: {kind}\ndata: {data}\n\n".encode()
        return wait_s

    async def follow(self) -> AsyncIterator[bytes]:
        """Give one viewer what is newest, again and again."""
        seen: dict[str, int] = {}
        self.viewers += 1
        try:
            while not self._closing:
                waiting = self._sent
                new = [(kind, *message) for kind, message in self._messages.items() if seen.get(kind) != message[0]]
                if new:
                    seen |= {kind: number for kind, number, _ in new}
                    yield b"".join(message for _, _, message in new)
                    continue
                try:
                    await asyncio.wait_for(waiting.wait(), PING_S)
                except TimeoutError:
                    yield f"event: ping\ndata: {time.time():.3f}\n\n".encode()
        finally:
            self.viewers -= 1
