"""A server that stops answering for a while; its timers go on."""

from __future__ import annotations

import asyncio


class Silence:
    """Gate before everything that the server sends."""

    def __init__(self) -> None:
        self._answering = asyncio.Event()
        self._answering.set()

    @property
    def now(self) -> bool:
        """Whether the server is silent."""
        return not self._answering.is_set()

    def begin(self, seconds: float) -> None:
        """Be silent for so many real seconds."""
        self._answering.clear()
        asyncio.get_running_loop().call_later(seconds, self._answering.set)

    async def over(self) -> None:
        """Wait until it is over."""
        await self._answering.wait()
