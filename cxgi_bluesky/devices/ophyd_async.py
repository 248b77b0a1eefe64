"""ophyd-async's movables as axes: every call returns when it is done, whatever the thread.

They live in an event loop of their own. A RunEngine makes a new loop for itself, the devices of a beamline file are
there before it, and what a stage reads is asked within the RunEngine's loop, which must not wait for itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import math
import threading
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

from ophyd.status import StatusBase
from ophyd.utils import LimitError

from .status import in_background

TIMEOUT_S = 10.0


def is_async(device: Any) -> bool:
    """Whether a device's readings must be awaited."""
    return inspect.iscoroutinefunction(getattr(device, "read", None))


@cache
def device_loop() -> asyncio.AbstractEventLoop:
    """Start the event loop of all async movables, in a thread, the first time."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="cxgi async devices").start()
    return loop


class AsyncMovable:
    """An async movable as stages take them.

    It connects itself, in the loop of `device_loop`, before what it does first.

    Parameters
    ----------
    device : ophyd-async Device
        A `StandardMovable`, such as `ophyd_async.epics.motor.Motor`, or another with async `set`, `read`, `describe`.
    timeout_s : float, optional
        Longest wait for its connection and for each answer (s).
    """

    parent = None

    def __init__(self, device: Any, timeout_s: float = TIMEOUT_S) -> None:
        self.device = device
        self.timeout_s = timeout_s

    @property
    def name(self) -> str:
        """Of the device."""
        return str(self.device.name)

    @property
    def hints(self) -> dict[str, Any]:
        """Of the device."""
        return dict(getattr(self.device, "hints", {}))

    def wait_for_connection(self, timeout: float = TIMEOUT_S) -> None:
        """Connect; `TimeoutError` where something does not answer.

        Parameters
        ----------
        timeout : float, optional
            Longest wait (s).
        """
        self.timeout_s = timeout
        self._ask("connect", timeout=timeout)

    def set(self, position: float) -> StatusBase:
        """Move; the status ends when the device's does, and not in the loop: who hears of it may ask the device."""

        async def move() -> None:
            await self._connect()
            await self.device.set(position)

        moved = _begin(move())

        def wait() -> None:
            try:
                moved.result()
            except concurrent.futures.CancelledError as error:
                raise RuntimeError(f"{self.name}: the move was cancelled") from error

        return in_background(self, wait, math.inf)

    def read(self) -> dict[str, Any]:
        """Readings."""
        return dict(self._ask("read"))

    def describe(self) -> dict[str, Any]:
        """Descriptions of the readings."""
        return dict(self._ask("describe"))

    def read_configuration(self) -> dict[str, Any]:
        """Settings."""
        return dict(self._ask("read_configuration"))

    def describe_configuration(self) -> dict[str, Any]:
        """Descriptions of the settings."""
        return dict(self._ask("describe_configuration"))

    def check_value(self, position: float) -> None:
        """Raise `LimitError` for a position that the device refuses."""
        self._ask("connect")
        try:
            self._ask("check_value", position)
        except TimeoutError:
            raise
        except Exception as error:
            raise LimitError(f"{self.name}: {error}") from error

    def stop(self, *, success: bool = False) -> None:
        """Stop it."""
        self._ask("stop", success=success)

    def stage(self) -> list[object]:
        """Stage it, from when on its readings are monitored."""
        self._ask("stage")
        return [self]

    def unstage(self) -> list[object]:
        """Unstage it."""
        self._ask("unstage")
        return [self]

    async def _connect(self) -> None:
        if hasattr(self.device, "connect"):  # once: it remembers
            await self.device.connect(timeout=self.timeout_s)

    def _ask(self, method: str, *args: Any, **options: Any) -> Any:
        """Result of a method, in the loop; of one that the device has not, nothing."""
        call: Callable[..., Any] | None = getattr(self.device, method, None)

        async def ask() -> Any:
            if method != "connect":
                await self._connect()
            result = call(*args, **options) if call is not None else {}
            return await result if inspect.isawaitable(result) else result

        answer = _begin(ask())
        try:
            return answer.result(self.timeout_s + 1.0)
        except concurrent.futures.TimeoutError as error:
            answer.cancel()
            text = str(error).strip() or f"no answer to {method} within {self.timeout_s:g} s"
            raise TimeoutError(f"{self.name}: {_in_one_line(text)}") from error
        except Exception as error:
            if type(error).__name__ == "NotConnectedError":
                raise TimeoutError(f"{self.name}: {_in_one_line(str(error))}") from error
            raise


def _begin(work: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
    return asyncio.run_coroutine_threadsafe(work, device_loop())


def _in_one_line(text: str) -> str:
    return ", ".join(line.strip() for line in text.splitlines() if line.strip())
